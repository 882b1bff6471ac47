"""Training of motion LoRAs and motion models in the host's MODEL: what it learns, what it leaves alone, and files."""

import math
from dataclasses import replace

import pytest
import torch
from animatediff_loom.motion_modules.adapters.conditions import put_condition
from animatediff_loom.motion_modules.adapters.pia import PIA, PiaCondition
from animatediff_loom.motion_modules.errors import LoomError
from animatediff_loom.motion_modules.files.loading import load_motion_model, motion_model_from_tensors
from animatediff_loom.motion_modules.files.motion_lora import add_motion_lora, parse_motion_lora
from animatediff_loom.sampling.steering.strength import MotionStrength, StrengthFactor
from animatediff_loom.training import train as training
from animatediff_loom.training.animated_model import loaded_for_training, prepare_model
from animatediff_loom.training.clips import TrainingClip, TrainingClips
from animatediff_loom.training.loop import TrainingPlan
from animatediff_loom.training.low_rank import (
    MotionLoraLayers,
    choose_weights,
    spell_for_diffusers,
    spell_key,
)
from animatediff_loom.training.objectives import Objective, draw
from animatediff_loom.training.results import save_trained_model
from animatediff_loom.training.saved_state import SavedState
from animatediff_loom.training.train import LoraSettings, TrainingTask, train_motion_lora, train_motion_model
from comfy.model_management import InterruptProcessingException

from tests.support.host import copy_weights, same_weights, tiny_model
from tests.support.motion_files import V1, V3, motion_file, pia_file
from tests.support.motion_loras import linear_layers, random_factors, spell
from tests.support.motion_models import apply_motion, load_motion
from tests.support.reference_unet import evaluate_reference, reference_unet
from tests.support.sampling import distance, evaluate_once, noise, prompt, sample
from tests.support.texts import expect_error

FILE = motion_file()
FRAMES, SITES = 3, "down.3, up.0"  # the smallest feature maps
SMALL = LoraSettings(rank=2, sites=SITES)


def clips(count: int = 1, frames: int = FRAMES) -> TrainingClips:
    numbered = (TrainingClip(f"clip {n}", noise(frames, 5 + n), "a prompt", prompt(2 + n)) for n in range(count))
    return TrainingClips(tuple(numbered), prompt(9))


def task(steps: int = 2, **plan) -> TrainingTask:
    return TrainingTask(clips(), TrainingPlan(steps=steps, warm_up=1, **plan))


@pytest.fixture(scope="module")
def motion():
    with torch.inference_mode():  # as nodes load it
        return load_motion()


@pytest.fixture(scope="module")
def model():
    with torch.inference_mode():
        return tiny_model()


def train(model, motion, task, lora=SMALL):
    with torch.inference_mode():
        return train_motion_lora(model, motion, task, lora)


def trained_clip(model, motion, result):
    lora = parse_motion_lora("trained", result.tensors)
    return sample(apply_motion(model, add_motion_lora(motion, lora, 1.0)))


@pytest.fixture
def one_draw(monkeypatch):
    """The same noise and timestep in every step, so that losses of different steps are comparable."""

    def draw_again(shapes, timesteps, objective, generator):
        return draw(shapes, timesteps, objective, torch.Generator().manual_seed(1))

    monkeypatch.setattr(training, "draw", draw_again)


@pytest.mark.usefixtures("one_draw")
def test_loss_falls_on_one_clip_and_the_next_prompt_runs_as_if_nothing_had_happened(model, motion):
    with torch.inference_mode():
        before, weights = sample(apply_motion(model, motion)), (copy_weights(model), copy_weights(motion.patcher))
        result = train(model, motion, task(8, learning_rate=0.03))
        assert result.losses[-1] < 0.9 * result.losses[0] and len(result.losses) == 8
        assert torch.equal(sample(apply_motion(model, motion)), before)
        assert same_weights(model, weights[0]) and same_weights(motion.patcher, weights[1])
        assert not torch.equal(trained_clip(model, motion, result), before)


def test_strength_one_is_the_trained_model(model, motion):
    """The UNet predicts with the LoRA of the file what it predicts with the layers that are trained."""
    weights = linear_layers(motion.patcher.model.state_dict())
    lora = parse_motion_lora("random", spell(random_factors(weights)))
    results = []
    for put_on in (lambda patcher: put_layers_on(patcher, lora.tensors), None):
        changed = motion if put_on else add_motion_lora(motion, lora, 1.0)
        clone, trained = prepare_model(model, changed, torch.float32, checkpointing=False)
        if put_on:
            put_on(trained)
        results.append(predict(clone))
    clone, _ = prepare_model(model, motion, torch.float32, checkpointing=False)
    assert (results[0] - results[1]).abs().max() < 1e-4 < (results[0] - predict(clone)).abs().max()


def predict(clone) -> torch.Tensor:
    with torch.inference_mode(False), loaded_for_training(clone, {"text": prompt(2)}, noise(FRAMES)) as predictor:
        return predictor.predict(predictor.prepare_latents(noise(FRAMES)), noise(FRAMES, 3), 2.0, "text").detach()


def put_layers_on(patcher, tensors) -> None:
    layers = MotionLoraLayers(choose_weights(patcher, motion_sites(patcher), "attention"), 3, 0)
    layers.put_on(patcher)
    for name, layer in zip(layers.names, layers.layers, strict=True):
        for part, factor in layer.named_parameters():
            factor.data = tensors[spell_key(name, part)]
    assert layers.file_tensors().keys() == tensors.keys()


def motion_sites(patcher) -> list[str]:
    return list(patcher.model.by_site)


@pytest.mark.parametrize("family", [V1, V3], ids=lambda family: family.name)
def test_checkpointing_changes_no_bit(model, family):
    with torch.inference_mode():
        motion = motion_model_from_tensors(family.file(), "motion.safetensors")
    results = [train(model, motion, replace(task(), checkpointing=on)) for on in (False, True)]
    assert results[0].losses == results[1].losses
    assert all(torch.equal(results[1].tensors[name], tensor) for name, tensor in results[0].tensors.items())


def test_a_cancelled_run_continues_bit_for_bit(model, motion, tmp_path, monkeypatch):
    """Cancelled in the middle of a step, after its random numbers were drawn."""
    settings = task(3, average=0.5, clips_per_step=2)
    whole = train(model, motion, settings)
    saved = SavedState(tmp_path / "run.safetensors", every=0)
    calls = iter(range(100))

    def cancel(self, predicted, draw, sigma):
        if next(calls) == 3:
            raise InterruptProcessingException
        return error(self, predicted, draw, sigma)

    error = Objective.error
    with monkeypatch.context() as patch, pytest.raises(InterruptProcessingException):
        patch.setattr(Objective, "error", cancel)
        train(model, motion, replace(settings, saved_state=saved))
    assert saved.path.exists()
    continued = train(model, motion, replace(settings, saved_state=saved))
    assert continued.resumed_from == 1
    assert continued.losses == whole.losses
    assert all(torch.equal(continued.tensors[name], tensor) for name, tensor in whole.tensors.items())


def test_lack_of_memory_keeps_the_steps_before_and_names_three_settings(model, motion, tmp_path, monkeypatch):
    saved, calls, error = SavedState(tmp_path / "run.safetensors", every=0), iter(range(100)), Objective.error

    def exhaust(self, predicted, draw, sigma):
        if next(calls) == 1:
            raise torch.cuda.OutOfMemoryError("out of memory")
        return error(self, predicted, draw, sigma)

    monkeypatch.setattr(Objective, "error", exhaust)
    with expect_error(
        "Memory was not enough for step 2", "`gradient_checkpointing`", "`clip_length`", "continues after step 1"
    ):
        train(model, motion, replace(task(), saved_state=saved))
    assert saved.path.exists()


def test_all_bad_clips_are_named_before_training(model, motion):
    good, broken = clips(1).clips[0], noise(2)
    broken[1, 0, 0, 0] = math.nan
    bad = [
        replace(good, name="broken", latents=broken),
        replace(good, name="still", latents=noise(1)),
        replace(good, name="long", latents=noise(33)),
        replace(good, name="other", latents=torch.zeros(2, 16, 8, 8)),
    ]
    with pytest.raises(LoomError) as error:
        train(model, motion, TrainingTask(TrainingClips((good, *bad), prompt(9))))
    heading, *rows, remedy = str(error.value).splitlines()
    assert heading == "4 of 5 clips cannot be trained on:" and remedy == "Correct or remove them."
    assert [row[:20] for row in rows] == [
        "broken  NaN or Inf i", "still   1 frame, exp", "long    33 frames, b", "other   latents of s"
    ]  # fmt: skip


def test_a_whole_motion_model_is_trained(model, motion):
    before = motion.patcher.model.state_dict()
    with torch.inference_mode():
        result = train_motion_model(model, motion, task(1))
    assert result.tensors.keys() == before.keys()
    changed = [name for name, tensor in result.tensors.items() if not torch.equal(tensor, before[name].float())]
    assert len(changed) > 0.9 * len([name for name in before if not name.endswith(".pe")])
    assert not [name for name in changed if name.endswith(".pe")]


def test_a_motion_model_is_trained_with_its_adapter_which_keeps_its_weights(model, tmp_path):
    with torch.inference_mode():
        motion, animated = motion_model_from_tensors(pia_file(), "pia.ckpt"), model.clone()
        put_condition(animated, PIA, PiaCondition(noise(1, 7), (0,) * FRAMES, (1.0,) * FRAMES))
        file = tmp_path / "trained.safetensors"
        trained = save_trained_model(train_motion_model(animated, motion, task(1)), motion, task(1), file)
        before, after = motion.patcher.model.state_dict(), trained.patcher.model.state_dict()
        assert trained.adapters == motion.adapters and after.keys() == before.keys()
        kept = {name for name, weight in before.items() if torch.equal(after[name], weight)}
        assert {name for name in kept if not name.endswith(".pe")} == {name for name in before if "adapters." in name}
        clips = [sample(apply_motion(animated, each)) for each in (trained, load_motion_model(str(file)), motion)]
    assert torch.equal(clips[0], clips[1]) and not torch.equal(clips[0], clips[2])


def test_a_motion_lora_whose_strength_varies_is_refused(model, motion):
    lora = parse_motion_lora("pan", spell(random_factors(linear_layers(FILE))))
    varying = add_motion_lora(motion, lora, 1.0, MotionStrength((StrengthFactor(levels=(0.0, 1.0)),)))
    with expect_error("The strength of motion LoRA 'pan' varies", "Disconnect `motion_strength`"):
        train(model, varying, task())


def test_file_of_diffusers_changes_its_network_as_ours(model, motion):
    """Each key of the file names a layer of diffusers' UNet; its own loader, PEFT, adds the product of both factors."""
    weights = linear_layers(FILE)
    tensors = spell(random_factors(weights))
    call = evaluate_once(
        apply_motion(model, add_motion_lora(motion, parse_motion_lora("lora", tensors), 1.0)), FRAMES, 500
    )
    unet = reference_unet(model, V3, FILE, FRAMES)
    factors = spell_for_diffusers(tensors)
    for key in [key for key in factors if ".lora_A." in key]:
        layer = unet.get_submodule(key.removeprefix("unet.").removesuffix(".lora_A.weight"))
        layer.weight.data += factors[key.replace("lora_A", "lora_B")] @ factors[key]
    assert distance(call["output"], evaluate_reference(unet, call, FRAMES)) < 1e-5
