"""Losses and random draws of training, beside their papers, and the learning rate and saved state of the loop."""

import itertools
import math
import os
import signal
from multiprocessing import Pipe, get_context

import pytest
import torch
from animatediff_loom.training.loop import Trainer, TrainingPlan
from animatediff_loom.training.objectives import Draw, Objective, debias, draw, min_snr_weight, smooth
from animatediff_loom.training.saved_state import SavedState
from torch import nn

from tests.support.texts import expect_error

SHAPE = torch.Size((4, 4, 2, 2))


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def drawn(objective: Objective = Objective(), count: int = 200) -> list[Draw]:  # noqa: B008
    generator = seeded()
    return [draw([SHAPE, SHAPE], 1000, objective, generator) for _ in range(count)]


def test_plain_error_is_the_mean_square_of_the_difference():
    noise = torch.randn(SHAPE, generator=seeded())
    one = Draw(0, 5, noise, anchor=1, captioned=True)
    assert torch.isclose(Objective().error(noise + 0.5, one, sigma=1.0), torch.tensor(0.25))


def test_debiased_error_does_not_see_a_change_that_all_frames_share_as_strongly():
    """With alpha = sqrt(2) and beta = 1, a shared change counts (sqrt(2) - 1)^2, one of a single frame more."""
    noise = torch.randn(SHAPE, generator=seeded())
    one = Draw(0, 5, noise, anchor=1, captioned=True)
    shared = Objective(debiased=True).error(noise + 0.5, one, sigma=1.0)
    assert math.isclose(float(shared), 0.25 * (1 + (math.sqrt(2) - 1) ** 2), rel_tol=1e-5)
    assert torch.allclose(debias(noise, 1)[3], math.sqrt(2) * noise[3] - noise[1])


def test_min_snr_weight_limits_low_noise_alone():
    assert min_snr_weight(sigma=1.0, gamma=5.0) == 1.0
    assert math.isclose(min_snr_weight(sigma=0.1, gamma=5.0), 5.0 / 100)


def test_draws_cover_clips_timesteps_anchors_and_captions():
    draws = drawn(Objective(text_dropout=0.25))
    assert {each.clip for each in draws} == {0, 1} and {each.anchor for each in draws} == {0, 1, 2, 3}
    assert min(each.timestep for each in draws) < 20 and max(each.timestep for each in draws) > 980
    assert 30 < sum(not each.captioned for each in draws) < 70


def test_noise_offset_is_shared_by_the_places_of_a_frame_and_channel():
    noise = torch.stack([each.noise for each in drawn(Objective(noise_offset=2.0))])
    assert 1.6 < noise.mean(dim=(-2, -1)).std() < 2.5
    assert 0.9 < (noise - noise.mean(dim=(-2, -1), keepdim=True)).std() * math.sqrt(4 / 3) < 1.1


def test_settings_out_of_range_are_refused():
    with expect_error("`text_dropout` is 2", "Use"):
        Objective(text_dropout=2)
    with expect_error("`learning_rate` 0", "Use at least"):
        TrainingPlan(learning_rate=0)


def test_smoothed_loss_begins_with_the_first_one_and_follows():
    assert smooth([4.0])[0] == 4.0
    assert 1.0 < smooth([4.0] + [1.0] * 99)[-1] < 1.02


def line_trainer(**plan) -> Trainer:
    """Fits y = 2 x with a line."""
    torch.manual_seed(0)
    module = nn.Linear(1, 1)

    def error(generator: torch.Generator) -> torch.Tensor:
        x = torch.randn(8, 1, generator=generator)
        return (module(x) - 2 * x).square().mean()

    return Trainer(module, TrainingPlan(**{"learning_rate": 0.1, "warm_up": 4} | plan), error, torch.device("cpu"))


def test_learning_rate_rises_then_falls_to_a_hundredth():
    trainer = line_trainer(steps=40)
    rates = []
    for _ in trainer.steps():
        rates.append(trainer.rate.get_last_lr()[0])
    assert rates[:3] == sorted(rates[:3]) and math.isclose(max(rates), 0.1, rel_tol=0.01)
    assert rates[4:] == sorted(rates[4:], reverse=True) and math.isclose(rates[-1], 0.001, rel_tol=0.01)
    assert trainer.losses[-1] < 0.01 * trainer.losses[0]


def test_saved_state_continues_bit_for_bit_in_every_precision(tmp_path):
    for precision, average in itertools.product(("float32", "bf16"), (0.0, 0.9)):
        settings = {"steps": 8, "precision": precision, "average": average, "clips_per_step": 2}
        whole, first, second = (line_trainer(**settings) for _ in range(3))
        list(whole.steps())
        saved = SavedState(tmp_path / f"{precision}{average}.safetensors", every=5)
        for _ in itertools.islice(first.steps(), 7):
            saved.save_when_due(first)
        assert saved.resume(second) and len(second.losses) == 5
        list(second.steps())
        assert second.losses == whole.losses
        assert all(
            torch.equal(a, b) for a, b in zip(second.result.parameters(), whole.result.parameters(), strict=True)
        )


def test_a_loss_that_is_no_number_changes_no_weight():
    trainer = line_trainer(steps=3)
    trainer.advance()
    before = [weight.clone() for weight in trainer.weights]
    trainer.clip_error = lambda generator: trainer.module(torch.full((1, 1), math.nan)).sum()
    with expect_error("loss of step 2 is nan", "Lower `learning_rate`"):
        trainer.advance()
    assert all(torch.equal(a, b) for a, b in zip(trainer.weights, before, strict=True))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="a process that is forked has all modules at once")
def test_a_killed_run_continues_bit_for_bit(tmp_path):
    saved, settings = SavedState(tmp_path / "run.safetensors", every=3), {"steps": 12, "average": 0.9}
    ours, theirs = Pipe()
    child = get_context("fork").Process(target=train_and_wait, args=(settings, saved, theirs))
    child.start()
    assert ours.recv() == 5
    child.kill()
    child.join()
    whole, second = line_trainer(**settings), line_trainer(**settings)
    list(whole.steps())
    assert child.exitcode == -signal.SIGKILL
    assert saved.resume(second) and len(second.losses) == 3
    list(second.steps())
    assert second.losses == whole.losses
    assert all(torch.equal(*pair) for pair in zip(second.result.parameters(), whole.result.parameters(), strict=True))


def train_and_wait(settings, saved: SavedState, parent) -> None:
    """Train 5 steps, and wait for the end that comes from outside."""
    trainer = line_trainer(**settings)
    for _ in itertools.islice(trainer.steps(), 5):
        saved.save_when_due(trainer)
    parent.send(len(trainer.losses))
    parent.recv()
