"""SamplerCustomAdvanced with an animated model and each guider node that the host ships."""

import importlib
from pathlib import Path

import comfy_extras
import pytest
import torch
from comfy_api.latest import io

from tests.support.host import tiny_model
from tests.support.motion_models import apply_motion, load_motion
from tests.support.sampling import GUIDERS, call, distance, host_node, ksampler, record_unet, run_guider


@pytest.mark.parametrize("name", GUIDERS)
def test_every_guider_animates(model, moving, still, name):
    plain, clip = run_guider(name, model), run_guider(name, moving)
    assert clip.isfinite().all()
    assert not torch.allclose(clip, plain, atol=1e-3)
    assert torch.equal(run_guider(name, still), plain)
    assert torch.equal(run_guider(name, moving), clip)


def test_no_guider_of_the_host_is_left_out():
    files = [file for file in Path(comfy_extras.__path__[0]).glob("nodes_*.py") if "Guider.Output(" in file.read_text()]
    modules = [importlib.import_module(f"comfy_extras.{file.stem}") for file in files]
    classes = {name for module in modules for name, member in vars(module).items() if _makes_guiders(member)}
    assert len(classes) >= 4
    assert classes <= {name.split()[0] for name in GUIDERS}


def test_a_plain_cfg_guider_makes_what_ksampler_makes(moving):
    assert torch.equal(run_guider("CFGGuider", moving), ksampler(moving))


def test_the_second_model_of_a_dual_model_guider_moves_like_the_first(moving):
    """The host runs it with the options of the first model."""
    other, seen = record_unet(moving)
    clip = run_guider("DualModelGuider", other, model_negative=tiny_model())
    assert [call["chunks"] for call in seen.calls[:2]] == [[0], [0]]
    assert distance(clip, run_guider("CFGGuider", moving)) < 1e-4


def test_two_animated_models_in_a_dual_model_guider(model, moving):
    other = apply_motion(model, load_motion(seed=5, name="other", mid=True))
    clip = run_guider("DualModelGuider", moving, model_negative=other)
    assert clip.isfinite().all()
    assert not torch.allclose(clip, run_guider("DualModelGuider", model), atol=1e-3)


@pytest.mark.parametrize("name", ["VideoLinearCFGGuidance", "VideoTriangleCFGGuidance"])
def test_guidance_that_changes_along_the_frames(model, moving, still, name):
    node = host_node(f"nodes_video_model.{name}")

    def clip(start):
        return ksampler(call(node, model=start, min_cfg=1.0))

    assert torch.equal(clip(still), clip(model))
    assert not torch.allclose(clip(moving), ksampler(moving), atol=1e-3)
    assert not torch.allclose(clip(moving), clip(model), atol=1e-3)


def _makes_guiders(member) -> bool:
    if not (isinstance(member, type) and issubclass(member, io.ComfyNode) and member is not io.ComfyNode):
        return False
    return any(isinstance(output, io.Guider.Output) for output in member.define_schema().outputs)
