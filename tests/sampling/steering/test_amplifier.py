"""Motion amplifier: the vectors of the reference (training-free 2.1), where and when it acts, and when it is off."""

import pytest
import torch
from animatediff_loom.nodes.motion_amplifier import MotionAmplifier
from animatediff_loom.sampling.steering.amplifier import AmplifierSettings, amplify_fast_part
from torch.testing import assert_close

from tests.support.motion_models import apply_motion, apply_windows, load_motion, random_motion
from tests.support.sampling import call, sample
from tests.support.texts import expect_error

ROW = [0.5, 0.2, 0.1, 0.08, 0.05, 0.04, 0.02, 0.01]
AMPLIFIED_ROW = [0.569545, 0.151904, 0.110921, 0.100204, 0.022955, 0.045596, 0.051579, -0.052704]
FRAMES = 4


def amplify(model, beta: float = 1.5, **advanced):
    return call(MotionAmplifier, model=model, beta=beta, **advanced)


def run(model, **options):
    return sample(model, FRAMES, cfg=1.0, **options)


def random_attention(frames: int, clips: int = 3, channels: int = 5) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(frames)
    shapes = ((clips, frames, frames), (clips, frames, channels))
    logits, values = (torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes)
    return logits.softmax(-1), values


@pytest.mark.parametrize("frames", [1, 2, 15, 16, 24])
def test_all_but_the_mean_of_the_map_is_multiplied(frames):
    """beta * out + (1 - beta) * mean over frames of V, which is the map 1/F + beta * (A - 1/F)."""
    maps, values = random_attention(frames)
    result = maps @ amplify_fast_part(values, 1.5)
    assert_close(result, 1.5 * maps @ values - 0.5 * values.mean(1, keepdim=True))
    assert_close(result, (1 / frames + 1.5 * (maps - 1 / frames)) @ values)


def test_a_band_of_the_map_as_in_the_paper():
    """F = 8, tau = 1: the band is the indices 3 to 5, from three quarters of the highest frequency on."""
    row, values = torch.tensor([ROW]), torch.eye(8)[None]
    assert_close(row @ amplify_fast_part(values, 1.5, 0.75)[0], torch.tensor([AMPLIFIED_ROW]), atol=2e-6, rtol=0)


@pytest.mark.parametrize("frames", [5, 8, 17])
def test_a_band_is_that_of_the_spectrum_for_every_length(frames):
    maps, values = random_attention(frames)
    fast = 2 * torch.fft.fftfreq(frames, dtype=torch.float64).abs() >= 0.5
    expected = torch.fft.ifft(torch.fft.fft(maps) * torch.where(fast, 1.5, 1.0)) @ values.cfloat().to(torch.complex128)
    assert expected.imag.abs().max() < 1e-12
    assert_close(maps @ amplify_fast_part(values, 1.5, 0.5), expected.real, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("slowest", [0.0, 0.5])
def test_a_still_clip_stays(slowest):
    values = torch.randn(2, 1, 5).expand(2, 16, 5)
    assert_close(amplify_fast_part(values, 2.0, slowest), values)


def test_the_first_steps():
    sigmas = torch.linspace(10, 0, 11)
    acting = [AmplifierSettings(end=0.2).acts_at(float(sigma), sigmas) for sigma in sigmas[:-1]]
    assert acting == [True, True, *[False] * 8]
    assert AmplifierSettings(end=0.2).acts_at(9.5, sigmas)  # a second evaluation of the first step


def test_beta_1_and_no_steps_change_nothing(moving):
    plain = run(moving)
    assert torch.equal(run(amplify(moving, 1.0)), plain)
    assert torch.equal(run(amplify(moving, end=0.0)), plain)
    assert not torch.allclose(run(amplify(moving)), plain, atol=1e-3)


def test_before_or_after_the_motion_model_and_in_windows(model, moving):
    assert torch.equal(run(apply_motion(amplify(model))), run(amplify(moving)))
    one_window = apply_windows(amplify(moving), length=FRAMES)
    assert_close(run(one_window), run(amplify(moving)))
    for schedule in ("static", "view"):
        windows = [apply_windows(each, schedule, length=3) for each in (amplify(moving), moving)]
        assert not torch.allclose(run(windows[0]), run(windows[1]), atol=1e-3)


def test_sites_of_several_motion_models(model, moving):
    """auto is the last three of four levels; two factors multiply."""
    assert torch.equal(run(amplify(moving)), run(amplify(moving, sites="up.1, up.2, up.3")))
    assert not torch.allclose(run(amplify(moving)), run(amplify(moving, sites="up.*")), atol=1e-4)
    twice = apply_motion(moving, load_motion(name="second"))
    assert not torch.allclose(run(amplify(twice)), run(twice), atol=1e-3)
    assert_close(run(amplify(amplify(moving, 1.5), 2.0)), run(amplify(moving, 3.0)), atol=1e-4, rtol=1e-3)


def test_without_attention_it_is_refused(model):
    with expect_error("The model has Motion Amplifier, but no motion model acts on it. Connect Apply Motion Model"):
        run(amplify(model))
    with expect_error("Motion Amplifier amplifies attention, but motion model", "has none on the way up. Set `sites`"):
        run(amplify(apply_motion(model, random_motion(model, "scale_shift"))))
    with expect_error("`sites` has 'up.9', which matches no site of motion model 'motion"):
        run(amplify(apply_motion(model), sites="up.9"))
