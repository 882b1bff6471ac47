"""After a run, whole, interrupted or failed, the host and its model are what they were."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from comfy.model_management import InterruptProcessingException, unload_all_models
from torch.overrides import _get_current_function_mode_stack

from tests.support.host import tiny_model
from tests.support.motion_models import apply_motion, load_motion
from tests.support.sampling import distance, fail_during, interrupt_during, ksampler, load_lora

KINDS = {"v3": {"positions": 32}, "v1, joint norms": {"positions": 24}, "AnimateLCM": {"positions": None, "mid": True}}
ENDS = {"failed": (fail_during, ZeroDivisionError), "interrupted": (interrupt_during, InterruptProcessingException)}


def state_of(patcher) -> dict:
    """Everything that a patcher and its model hold, weights and buffers by value."""
    model = patcher.model
    return {
        "weights": {name: tensor.clone() for name, tensor in model.state_dict().items()},
        "modules": {name: id(module) for name, module in model.named_modules()},
        "hooks": [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules()],
        "forwards": [name for name, module in model.named_modules() if "forward" in vars(module)],
        "model": {
            name: value for name, value in vars(model).items() if isinstance(value, bool | int | float | str | None)
        },
        "patcher": {name: repr(value) for name, value in vars(patcher).items() if isinstance(value, dict | list | set)},
        "uuid": patcher.patches_uuid,
    }


def differences(before: dict, after: dict) -> list[str]:
    weights, now = before["weights"], after["weights"]
    changed = [name for name in weights.keys() | now.keys() if not torch.equal(weights.get(name), now.get(name))]
    return changed + [name for name in before if name != "weights" and before[name] != after[name]]


@pytest.fixture(scope="module")
def loaded():
    """A model that has run once: the host leaves marks of its own at the first run."""
    model = tiny_model()
    ksampler(model)
    unload_all_models()
    return model


@pytest.mark.parametrize("kind", KINDS)
def test_a_whole_run_leaves_nothing_behind(loaded, kind):
    before, sampling = state_of(loaded), loaded.model.model_sampling
    clip_model = apply_motion(loaded, load_motion(**KINDS[kind]), "auto")
    first = ksampler(clip_model)
    assert not _get_current_function_mode_stack()
    assert torch.equal(ksampler(clip_model), first)
    unload_all_models()
    assert differences(before, state_of(loaded)) == []
    assert loaded.model.model_sampling is sampling


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_run_that_ends_half_way_leaves_nothing_behind(loaded, kind, end):
    make, error = ENDS[end]
    before, plain = state_of(loaded), ksampler(loaded)
    clip_model = apply_motion(load_lora(loaded), load_motion(**KINDS[kind]), "auto")
    with pytest.raises(error):
        ksampler(make(clip_model))
    assert not _get_current_function_mode_stack()
    assert torch.equal(ksampler(loaded), plain)
    assert distance(ksampler(clip_model), plain) > 1e-3
    unload_all_models()
    assert differences(before, state_of(loaded)) == []


def test_a_motion_model_is_never_changed(loaded):
    moves = load_motion(24)
    before = state_of(moves.patcher)
    ksampler(apply_motion(loaded, moves, strength=0.5))
    with pytest.raises(ZeroDivisionError):
        ksampler(fail_during(apply_motion(loaded, moves)))
    unload_all_models()
    assert differences(before, state_of(moves.patcher)) == []


def test_nothing_of_the_host_or_torch_is_replaced(pytestconfig):
    """After a whole run and one that fails half-way, with a motion model that joins the UNet's group norms."""
    result = in_fresh_process(pytestconfig, "sample", 24)
    assert result["watched"] > 10_000
    assert result["changes"] == []
    assert result["same"]


def test_a_replaced_function_would_be_found(pytestconfig):
    changed = in_fresh_process(pytestconfig, "patch", 32)["changes"]
    assert "comfy_extras.nodes_custom_sampler.CFGGuider.execute" in changed
    assert "torch.nn.GroupNorm.forward" in changed


def in_fresh_process(pytestconfig, action: str, positions: int) -> dict:
    root = Path(__file__).resolve().parents[2]
    tree = root / ".comfyui" / pytestconfig.getoption("--host-version")
    script = root / "tests" / "support" / "fresh_process.py"
    command = [sys.executable, str(script), str(tree), action, str(positions)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout.splitlines()[-1])
