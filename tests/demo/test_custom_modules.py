"""Custom modules inside Loom Mini's trained motion model: they change what they should, and nothing else."""

from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from animatediff_loom.motion_modules.architectures.registry import ARCHITECTURES
from animatediff_loom.motion_modules.files.loading import load_motion_model
from animatediff_loom.motion_modules.files.replacing import MODES, REPLACE, STACK, replace_modules
from animatediff_loom.motion_modules.files.saving import save_motion_model
from animatediff_loom.motion_modules.motion_model import MotionModel
from animatediff_loom.nodes.load_loom_mini import LoadLoomMini
from host.loom_mini import MOTION_MODEL

from tests.support.motion_models import mini_latents, random_motion, untrained_motion

FRAMES, LEVEL = 8, "up_blocks.2."
OTHERS = [key for key in ARCHITECTURES if key != "temporal_transformer"]
others = pytest.mark.parametrize("key", OTHERS)


@dataclass(frozen=True)
class Seen:
    """The input and output of every module in one evaluation, in the order of running, and its clip."""

    inputs: dict[str, torch.Tensor]
    outputs: dict[str, torch.Tensor]
    latents: torch.Tensor


@pytest.fixture(scope="module")
def mini():
    return LoadLoomMini.execute().result


@pytest.fixture(scope="module")
def trained() -> MotionModel:
    return load_motion_model(str(MOTION_MODEL))


def evaluate(mini, motion_model: MotionModel) -> Seen:
    inputs, outputs = {}, {}

    def look(name: str):
        def hook(module, arguments, result):
            inputs[name], outputs[name] = arguments[0].clone(), result.clone()

        return hook

    sites = motion_model.patcher.model.by_site
    hooks = [module.register_forward_hook(look(name)) for name, module in sites.items()]
    latents = mini_latents(mini, motion_model, "a red circle moving right", frames=FRAMES, steps=1, seed=2)
    for hook in hooks:
        hook.remove()
    return Seen(inputs, outputs, latents)


@others
@pytest.mark.parametrize("mode", MODES)
def test_all_before_a_custom_module_is_as_it_was(key, mode, mini, trained):
    mixed = replace_modules(trained, random_motion(mini[0], key), LEVEL + "*", mode)
    before, after = evaluate(mini, trained), evaluate(mini, mixed)
    order = list(before.outputs)
    first = next(number for number, name in enumerate(order) if name.startswith(LEVEL))
    assert first == 14
    assert all(torch.equal(before.outputs[name], after.outputs[name]) for name in order[:first])
    assert torch.equal(before.inputs[order[first]], after.inputs[order[first]])
    assert not any(torch.equal(before.outputs[name], after.outputs[name]) for name in order[first:])


@others
def test_a_fresh_module_behind_a_trained_one_changes_nothing(key, mini, trained):
    before, after = (
        evaluate(mini, trained),
        evaluate(mini, replace_modules(trained, untrained_motion(mini[0], key), "*", STACK)),
    )
    assert torch.equal(before.latents, after.latents)


@others
def test_fresh_modules_in_place_of_trained_ones_switch_off_their_level_alone(key, mini, trained):
    without = replace_modules(trained, untrained_motion(mini[0], key), LEVEL + "*", REPLACE)
    seen = evaluate(mini, without)
    chosen = {name for name in seen.inputs if name.startswith(LEVEL)}
    unchanged = {name for name in seen.inputs if torch.equal(seen.inputs[name], seen.outputs[name])}
    assert unchanged == chosen != set()


@others
@pytest.mark.parametrize("mode", MODES)
def test_a_mixture_makes_the_same_clip_from_its_file(key, mode, mini, trained, tmp_path: Path):
    mixed = replace_modules(trained, random_motion(mini[0], key), "mid, up.0", mode)
    save_motion_model(mixed, tmp_path / "mixed.safetensors")
    again = load_motion_model(str(tmp_path / "mixed.safetensors"))
    assert torch.equal(evaluate(mini, mixed).latents, evaluate(mini, again).latents)
