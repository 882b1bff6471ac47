"""A whole UNet with motion modules against diffusers, corrected where it departs from a family's own reference."""

import pytest
import torch
from animatediff_loom.motion_modules.files.loading import motion_model_from_tensors
from animatediff_loom.motion_modules.unet.applied import MotionSettings
from animatediff_loom.sampling.animate import AS_THE_MODEL, animate
from comfy.cli_args import args

from tests.support.host import tiny_model
from tests.support.motion_files import EXPECTED, HOTSHOT, SDXL_BETA, V1, V2, Expected
from tests.support.reference_unet import evaluate_reference, reference_unet
from tests.support.sampling import evaluate_once

FRAMES, TIMESTEP = 5, 501
by_name = pytest.mark.parametrize("expected", EXPECTED, ids=lambda expected: expected.name)


def outputs(expected: Expected, dtype=torch.float32, spell=lambda tensors: tensors):
    """Our UNet's output, the reference's, and that of the UNet without motion, with cond and uncond in one batch."""
    plain, motion = tiny_model(expected.base, dtype), expected.file()
    motion_model = motion_model_from_tensors(spell(motion), "tiny.safetensors", expected.choice)
    assert motion_model.family.name == expected.name
    call = evaluate_once(animate(plain, motion_model, MotionSettings(), AS_THE_MODEL), FRAMES, TIMESTEP)
    assert call["x"].shape[0] == 2 * FRAMES and call["x"].dtype == dtype
    assert call["timesteps"].tolist() == [TIMESTEP] * 2 * FRAMES
    reference = reference_unet(plain, expected, motion, FRAMES)
    still = evaluate_once(plain, FRAMES, TIMESTEP)
    return call["output"], evaluate_reference(reference, call, FRAMES), still["output"]


def relative(a: torch.Tensor, b: torch.Tensor) -> float:
    return float((a - b).norm() / b.norm())


@by_name
def test_float32(expected):
    ours, reference, still = outputs(expected)
    assert (ours - reference).abs().max() <= 1e-5
    assert relative(still, reference) > 0.1


@pytest.mark.parametrize("expected", (V1, V2, SDXL_BETA, HOTSHOT), ids=lambda expected: expected.name)
def test_float64(expected, monkeypatch):
    monkeypatch.setattr(args, "fp64_unet", True)
    ours, reference, _ = outputs(expected, torch.float64)
    assert ours.dtype == torch.float64
    assert (ours - reference).abs().max() <= 1e-12
