"""Valid registrations, and those refused by the decorator or when a pack's list is read."""

from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest
import torch
from animatediff_loom.motion_modules.architectures import registry
from animatediff_loom.motion_modules.architectures.registry import ARCHITECTURES, architectures, motion_module
from animatediff_loom.motion_modules.architectures.trial import shows_attention, try_out
from animatediff_loom.motion_modules.files.loading import motion_model_from_tensors
from animatediff_loom.nodes.load_motion_model import LoadMotionModel
from animatediff_loom.nodes.new_motion_model import NewMotionModel
from torch import nn

from tests.support.host import tiny_model
from tests.support.motion_files import motion_file
from tests.support.motion_models import import_pack, list_modules, untrained_motion
from tests.support.sampling import sample
from tests.support.texts import check_sentence, expect_error

NOT_OURS = "temporal_transformer"


@dataclass(frozen=True)
class Config:
    channels: int
    positions: int = 16

    @classmethod
    def for_site(cls, site) -> "Config":
        return cls(site.channels)

    @classmethod
    def from_shapes(cls, shapes, training) -> "Config":
        return cls(shapes["mix.weight"][0])


class Good(nn.Module):
    """The mean of the frames, through a layer that starts at zero."""

    def __init__(self, config, ops=nn, **factory):
        super().__init__()
        self.mix = ops.Linear(config.channels, config.channels, bias=False, **factory)
        for weight in self.mix.parameters():
            nn.init.zeros_(weight)

    def mean(self, x, frames: int):
        return self.mix(x.unflatten(0, (-1, frames)).mean(1).movedim(1, -1)).movedim(-1, 1).repeat_interleave(frames, 0)

    def forward(self, x, inputs):
        return inputs.add(x, self.mean(x, inputs.frames))


class Smaller(Good):
    def forward(self, x, inputs):
        return super().forward(x, inputs)[:, :, :1]


class Restless(Good):
    def __init__(self, config, ops=nn, **factory):
        super().__init__(config, ops, **factory)
        for weight in self.mix.parameters():
            nn.init.ones_(weight)


class Hasty(Good):
    def __init__(self, config, ops=nn, **factory):
        super().__init__(config, ops, **factory)
        nn.init.zeros_(self.mix.weight)


class Headstrong(Good):
    def forward(self, x, inputs):
        return x + self.mean(x, inputs.frames)


class Mixed(Good):
    def forward(self, x, inputs):
        return inputs.add(x, self.mean(x, len(x)))


class Broken(Good):
    def forward(self, x, inputs):
        return x.no_such_thing


class Endless(Good):
    """NaN as soon as its weights are not zero."""

    def forward(self, x, inputs):
        change = self.mean(x, inputs.frames)
        return inputs.add(x, torch.where(change == 0, change, torch.nan))


class Tied(Good):
    def __init__(self, config, ops=nn, **factory):
        super().__init__(config, ops, **factory)
        self.again = self.mix


@dataclass(frozen=True)
class Forgetful(Config):
    @classmethod
    def from_shapes(cls, shapes, training) -> "Forgetful":
        return cls(2 * shapes["mix.weight"][0])


@dataclass(frozen=True)
class NoPositions:
    channels: int
    for_site = classmethod(lambda cls, site: cls(site.channels))
    from_shapes = classmethod(lambda cls, shapes, training: cls(shapes["mix.weight"][0]))


class NoFromShapes:
    for_site = Config.for_site


GOOD = {"key": "mean", "module": Good, "config": Config}
INCOMPLETE = {
    "no key": ({"module": Good, "config": Config}, "has no 'key'"),
    "no module": ({"key": "mean", "config": Config}, "'mean'", "has no 'module'"),
    "no config": ({"key": "mean", "module": Good}, "'mean'", "has no 'config'"),
    "no dictionary": (Good, "listed as a type"),
    "unknown part": (GOOD | {"colour": 1}, "'colour'", "unknown"),
    "part of its own": (GOOD | {"origin": "me"}, "'origin'"),
    "odd key": (GOOD | {"key": "a.b"}, "'a.b'", "cannot stand in a file"),
    "key of diffusers": (GOOD | {"key": "norm"}, "'norm'", "cannot stand in a file"),
    "no class": (GOOD | {"module": Good(Config(8))}, "not an nn.Module class"),
    "no from_shapes": (GOOD | {"config": NoFromShapes}, "without 'from_shapes'"),
    "changing part": (GOOD | {"attends": []}, "can change", "unhashable"),
    "no function": (GOOD | {"objection": "too large"}, "'objection'", "not a function"),
}
BREAKING = {
    "shape": (GOOD | {"module": Smaller}, "[6, 64, 2, 4] into [6, 64, 1, 4]"),
    "identity": (GOOD | {"module": Restless}, "identity at initialisation", "start at zero"),
    "unloaded": (GOOD | {"module": Hasty}, "linear layer", "layer.parameters()"),
    "strength": (GOOD | {"module": Headstrong}, "inputs.strength"),
    "chunks": (GOOD | {"module": Mixed}, "different cond chunks"),
    "NaN": (GOOD | {"module": Endless}, "inputs.strength"),
    "one weight twice": (GOOD | {"module": Tied}, "'mix.weight' and 'again.weight'", "shares memory"),
    "failing": (GOOD | {"module": Broken}, "AttributeError", "no_such_thing"),
    "from_shapes": (GOOD | {"config": Forgetful}, "channels=128", "from_shapes"),
    "positions": (GOOD | {"config": NoPositions}, "without positions"),
}


@pytest.fixture
def pack(monkeypatch):
    """Imports a pack with a list of these entries."""
    return partial(list_modules, monkeypatch)


@pytest.fixture
def registered(monkeypatch):
    """Undo what a test registers with the decorator."""
    monkeypatch.setattr("animatediff_loom.motion_modules.architectures.registry.ARCHITECTURES", ARCHITECTURES.copy())


def decorate(entry: Any) -> None:
    parts = {name: value for name, value in entry.items() if name not in ("key", "module")}
    motion_module(entry["key"], **parts)(entry["module"])


def test_a_module_of_another_pack(pack):
    before = architectures().usable
    pack("mean_pack", GOOD)
    available = architectures()
    assert available.usable.keys() - before.keys() == {"mean"}
    assert (available["mean"].module, available["mean"].origin) == (Good, "mean_pack")
    assert not available.refused


def test_a_pack_may_show_its_list_twice(pack):
    pack("mean_pack", GOOD)
    pack("mean_pack.modules", GOOD)
    assert "mean" in architectures().usable


def test_a_list_in_a_part_of_a_pack_is_that_of_the_pack(pack):
    pack("mean_pack.modules.mixing", GOOD)
    assert architectures()["mean"].origin == "mean_pack"


def test_a_module_of_another_pack_moves_a_model(monkeypatch, tmp_path):
    import_pack("wobble_pack", monkeypatch)
    model = tiny_model()
    motion_model = untrained_motion(model, "wobble")
    tensors = {name: torch.full_like(gain, 0.5) for name, gain in motion_model.patcher.model.state_dict().items()}
    from animatediff_loom.motion_modules.unet.applied import MotionSettings
    from animatediff_loom.sampling.animate import animate

    clips = [
        sample(animate(model, motion_model_from_tensors(weights, "wobble.pt"), MotionSettings()), steps=1)
        for weights in (tensors, {name: torch.zeros_like(gain) for name, gain in tensors.items()})
    ]
    assert (clips[0] - clips[1]).abs().max() > 1e-2


@pytest.mark.parametrize("case", INCOMPLETE)
def test_a_part_is_missing_in_a_list(pack, case):
    entry, *words = INCOMPLETE[case]
    pack("their_pack", entry)
    (error,) = architectures().refused.values()
    check_sentence(str(error), "'their_pack'", *words)


@pytest.mark.parametrize("case", [case for case in INCOMPLETE if case not in ("no key", "no module", "no dictionary")])
def test_a_part_is_missing_in_the_decorator(registered, case):
    entry, *words = INCOMPLETE[case]
    with expect_error(*words):
        decorate(entry)
    assert "mean" not in architectures().usable


@pytest.mark.parametrize("case", BREAKING)
def test_a_broken_promise(pack, case):
    entry, *words = BREAKING[case]
    pack("their_pack", entry)
    with expect_error("'mean' of 'their_pack'", *words):
        architectures()["mean"]


@pytest.mark.parametrize("case", BREAKING)
def test_a_broken_promise_of_a_decorated_class(registered, case):
    entry, *words = BREAKING[case]
    decorate(entry)
    with expect_error("'mean' of 'AnimateDiff Loom'", *words):
        try_out(registry.ARCHITECTURES["mean"])


@pytest.mark.parametrize("key", ARCHITECTURES)
def test_an_architecture_of_this_pack_keeps_its_promises(key):
    try_out(ARCHITECTURES[key])


def test_a_module_that_does_not_claim_to_be_the_identity(pack):
    pack("their_pack", GOOD | {"module": Restless, "identity_at_start": False})
    assert architectures()["mean"].module is Restless


def test_the_trial_leaves_random_numbers_alone(pack):
    state = torch.random.get_rng_state()
    pack("their_pack", GOOD | {"joint_unet_norm": True})
    assert "mean" in architectures().usable
    assert torch.equal(torch.random.get_rng_state(), state)


def test_a_key_that_is_taken_by_the_decorator(registered):
    decorate(GOOD)
    with expect_error("'mean'", "taken twice"):
        decorate(GOOD | {"module": Mixed})


@pytest.mark.parametrize("names", (("one", "two"), ("two", "one")))
def test_a_key_that_two_packs_take_is_refused_in_either_order(pack, names):
    for name in names:
        pack(name, dict(GOOD))
    with expect_error("'mean'", "'one' and 'two'"):
        architectures()["mean"]


def test_a_key_of_ours_stays_ours(pack, caplog):
    pack("their_pack", GOOD | {"key": NOT_OURS})
    assert architectures()[NOT_OURS] is ARCHITECTURES[NOT_OURS]
    motion_model_from_tensors(motion_file(), "published.safetensors")
    assert f"'{NOT_OURS}' is taken twice, by 'AnimateDiff Loom' and 'their_pack'" in caplog.text


def test_a_broken_module_of_another_pack_leaves_the_others_alone(pack, caplog):
    pack("their_pack", GOOD | {"module": Smaller})
    assert motion_model_from_tensors(motion_file(), "published.safetensors").specs
    assert "'mean' of 'their_pack' turns a feature map" in caplog.text


@pytest.mark.parametrize("node", (NewMotionModel, LoadMotionModel))
def test_nodes_say_why_a_module_is_not_offered(pack, node):
    """In the tooltip of the combo, and in that of the output, which has no Chinese text in its place."""

    def tooltips() -> list[str]:
        schema = node.define_schema()
        combo = next(each for each in schema.inputs if each.id in ("architecture", "motion_model"))
        return [combo.tooltip or "", schema.outputs[0].tooltip or ""]

    assert not any("Not available" in tooltip for tooltip in tooltips())
    pack("their_pack", GOOD | {"module": Smaller})
    for tooltip in tooltips():
        assert "Not available: The motion module 'mean' of 'their_pack' turns a feature map" in tooltip


def test_a_file_of_a_broken_module_says_what_is_wrong(pack):
    pack("their_pack", GOOD)
    tensors = untrained_motion(tiny_model(), "mean").patcher.model.state_dict()
    pack("their_pack", GOOD | {"module": Smaller})
    with expect_error("'mean' of 'their_pack' turns a feature map"):
        motion_model_from_tensors(tensors, "mean.safetensors")


def test_an_architecture_that_nobody_brings():
    with expect_error("'wibble'", "scale_shift"):
        architectures()["wibble"]


def test_attention_that_taps_see():
    shown = {key for key, kind in ARCHITECTURES.items() if shows_attention(kind)}
    assert shown == {key for key, kind in ARCHITECTURES.items() if kind.attends}
