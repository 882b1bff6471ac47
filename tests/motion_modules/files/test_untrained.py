"""Untrained motion models of every architecture, by the Python API and by New Motion Model."""

import comfy.ops
import pytest
import torch
from animatediff_loom.motion_modules.architectures.registry import ARCHITECTURES
from animatediff_loom.motion_modules.files.untrained import create_motion_model
from animatediff_loom.motion_modules.unet.applied import MotionSettings
from animatediff_loom.nodes.new_motion_model import NewMotionModel
from animatediff_loom.sampling.animate import animate

from tests.support.host import tiny_dit, tiny_model
from tests.support.motion_models import (
    KEYS,
    SITES,
    SMALL,
    Width,
    import_gain_pack,
    import_pack,
    new_model,
    random_motion,
    sample_with,
)
from tests.support.sampling import sample
from tests.support.texts import expect_error


def offered() -> dict[str, list[str]]:
    """The choices of New Motion Model, and the inputs of each."""
    (combo,) = [each for each in NewMotionModel.GET_SCHEMA().inputs if each.id == "architecture"]
    return {option.key: [each.id for each in option.inputs] for option in combo.options}


@pytest.mark.parametrize("base", ("SD1.5", "SDXL"))
@pytest.mark.parametrize("key", KEYS)
def test_a_new_motion_model_is_the_identity_bit_for_bit(key, base):
    model = tiny_model(base)
    motion_model = new_model(model, key)
    assert {spec.architecture.key for spec in motion_model.specs.values()} == {key}
    assert motion_model.family.trained_frames == 8
    assert torch.equal(sample_with(model, motion_model), sample(model, steps=1))


@pytest.mark.parametrize("key", KEYS)
def test_layers_may_have_no_weights_until_a_file_is_loaded(key, monkeypatch):
    """As the host's linear layers have where it pages weights in, by default on NVIDIA cards."""
    model = tiny_model()
    expected = sample_with(model, random_motion(model, key))
    monkeypatch.setattr("comfy.memory_management.aimdo_enabled", True)
    assert comfy.ops.manual_cast.Linear(1, 1).weight is None
    assert torch.equal(sample_with(model, random_motion(model, key)), expected)


def test_a_new_motion_model_at_chosen_sites():
    assert set(new_model(tiny_model(), sites="mid, up.1").specs) == {
        "mid_block.motion_modules.0",
        *(f"up_blocks.1.motion_modules.{index}" for index in range(3)),
    }


def test_every_registered_architecture_is_offered_with_what_it_needs():
    choices = offered()
    assert next(iter(choices)) == "temporal_transformer"
    assert set(choices) == set(ARCHITECTURES)
    assert choices["temporal_convolution"] == []
    assert choices["scale_shift"] == ["positions"]
    assert choices["space_time_attention"] == ["positions", "width", "height"]


def test_those_of_other_packs_are_offered_as_soon_as_they_are_there(monkeypatch):
    assert "wobble" not in offered()
    import_pack("wobble_pack", monkeypatch)
    assert "wobble" in offered()
    model = tiny_model()
    assert torch.equal(sample_with(model, new_model(model, "wobble")), sample(model, steps=1))


def test_everywhere_means_wherever_it_can_be_also_beside_other_patterns():
    sizes = {"width": 1024, "height": 1024}
    coarse = new_model(tiny_model(), "space_time_attention", **sizes).specs
    assert 0 < len(coarse) < len(SITES)
    assert new_model(tiny_model(), "space_time_attention", sites="*, down.0", **sizes).specs == coarse


def test_a_model_that_is_no_unet_is_refused():
    with expect_error("MMDIT", "need a UNet"):
        new_model(tiny_dit())


class WideOnly(Width):
    @classmethod
    def for_site(cls, site):
        if site.channels < 64:
            raise ValueError(f"{site.channels} channels are too few")
        return cls(site.channels)


def test_code_that_fails_for_a_width_is_refused(monkeypatch):
    import_gain_pack(monkeypatch, WideOnly)
    with expect_error("gain", "down_blocks.0.motion_modules.0", "ValueError", "32 channels are too few"):
        new_model(tiny_model(), "gain")


def test_an_unknown_beta_schedule_is_refused_when_it_is_applied():
    model = tiny_model()
    motion_model = create_motion_model(model, "scale_shift", SMALL, beta_schedule="cosine")
    with expect_error("`beta_schedule` is 'cosine'", "AnimateDiff (linear)"):
        animate(model, motion_model, MotionSettings())
