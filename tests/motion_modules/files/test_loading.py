"""Every family in every spelling, precision and file format: recognised, complete, and the same after a round trip."""

import re
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import FrameType

import pytest
import safetensors.torch
import torch
from animatediff_loom.motion_modules.architectures.registry import architectures
from animatediff_loom.motion_modules.architectures.temporal_transformer import TemporalTransformerConfig
from animatediff_loom.motion_modules.describe import describe
from animatediff_loom.motion_modules.files.loading import (
    load_motion_model,
    load_motion_patcher,
    motion_model_from_tensors,
)
from animatediff_loom.motion_modules.files.motion_file import MotionFile, parse_file
from animatediff_loom.motion_modules.files.reading import flatten_tensors
from animatediff_loom.motion_modules.unet.applied import MotionSettings
from animatediff_loom.sampling.animate import animate
from comfy.cli_args import args
from diffusers import MotionAdapter
from hypothesis import given, settings
from hypothesis import strategies as st
from synthetic_motion import file_shapes, positional_table, site_channels

from tests.support.host import tiny_model
from tests.support.motion_files import (
    EXPECTED,
    HOTSHOT,
    LONG,
    SPELLINGS,
    V2,
    V3,
    Expected,
    Tensors,
    as_diffusers,
    as_hotshot,
    as_training_checkpoint,
    cast,
    from_diffusers,
    motion_file,
    weightless,
)
from tests.support.sampling import sample

DTYPES = (torch.float32, torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2)
FILES = (
    (".safetensors", torch.float16),
    (".ckpt", torch.float32),
    (".pt", torch.bfloat16),
    (".pth", torch.float8_e4m3fn),
)
by_name = pytest.mark.parametrize("expected", EXPECTED, ids=lambda expected: expected.name)


def load(tensors, expected: Expected, choice: str | None = None):
    return motion_model_from_tensors(tensors, "tiny.safetensors", choice or expected.choice)


def assert_holds(motion_model, expected: Expected, tensors: Tensors) -> None:
    """All of `tensors` and nothing else, tables of positions included, and the config that their shapes say."""
    assert motion_model.family.name == expected.name
    configs = {name: spec.config for name, spec in motion_model.specs.items()}
    assert configs == {
        name: TemporalTransformerConfig(channels, expected.positions, norm_over_frames=expected.joint_module_norm)
        for name, channels in site_channels(expected.widths, expected.mid).items()
    }
    loaded = motion_model.patcher.model.state_dict()
    assert loaded.keys() == file_shapes(expected.widths, expected.mid, expected.positions).keys()
    for name, tensor in loaded.items():
        if name.endswith(".pe"):
            formula = positional_table(expected.positions, tensor.shape[-1])
            assert (tensor - formula).abs().max() < 1e-5
        else:
            assert torch.equal(tensor, tensors[name].float())


def is_told(expected: Expected, spelling: str) -> bool:
    """Return whether the keys tell the family; with diffusers' names a LongAnimateDiff looks like an AnimateLCM."""
    if spelling == "Hotshot-XL":
        return expected is HOTSHOT
    return expected is not LONG or "diffusers" not in spelling


@pytest.mark.parametrize(
    ("expected", "spelling"),
    [
        pytest.param(expected, spelling, id=f"{expected.name}-{spelling}")
        for expected in EXPECTED
        for spelling in SPELLINGS
        if is_told(expected, spelling)
    ],
)
def test_spellings(expected, spelling):
    tensors = expected.file()
    assert_holds(load(SPELLINGS[spelling](tensors), expected), expected, tensors)


@by_name
@pytest.mark.parametrize(("suffix", "dtype"), FILES)
def test_files(expected, suffix, dtype, tmp_path):
    tensors, path = cast(expected.file(), dtype), tmp_path / f"a model{suffix}"
    if suffix == ".safetensors":
        safetensors.torch.save_file(tensors, path)
    else:
        torch.save(as_training_checkpoint(tensors) if suffix == ".ckpt" else tensors, path)
    motion_model = load_motion_model(str(path), expected.choice)
    assert (motion_model.name, motion_model.file_dtype) == (path.name, dtype)
    assert_holds(motion_model, expected, tensors)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_precisions(dtype):
    tensors = cast(V3.file(), dtype)
    motion_model = load(tensors, V3)
    assert motion_model.file_dtype == dtype
    assert_holds(motion_model, V3, tensors)


@by_name
def test_round_trip(expected, tmp_path):
    first, path = load(expected.file(), expected), tmp_path / "saved.safetensors"
    saved = {name: tensor.contiguous() for name, tensor in first.patcher.model.state_dict().items()}
    safetensors.torch.save_file(saved, path)
    again = load_motion_model(str(path), expected.name)
    assert (again.family, again.specs) == (first.family, first.specs)
    loaded = again.patcher.model.state_dict()
    assert loaded.keys() == saved.keys() and all(torch.equal(loaded[name], saved[name]) for name in saved)


@by_name
def test_a_real_motion_adapter(expected):
    adapter = MotionAdapter(
        block_out_channels=expected.widths, motion_max_seq_length=expected.positions, use_motion_mid_block=expected.mid
    )
    tensors = adapter.state_dict()
    assert_holds(load(tensors, expected, expected.name), expected, from_diffusers(tensors))


@pytest.mark.parametrize("wrapper", ("state_dict", "motion_module_state_dict", "module", "model"))
def test_wrappers(wrapper):
    tensors = V3.file()
    assert_holds(load({"epoch": 1, wrapper: tensors, "animatediff_config": {"a": 1}}, V3), V3, tensors)


@pytest.mark.parametrize("prefix", ("module.", "unet.", "model.diffusion_model.", "module.unet."))
def test_prefixes(prefix):
    tensors = V3.file()
    assert_holds(load({prefix + name: tensor for name, tensor in tensors.items()}, V3), V3, tensors)


def test_buffer_name_of_the_newest_upstream_code():
    tensors = LONG.file()
    renamed = {name.replace("pos_encoder.pe", "pos_encoder.pos_encoding"): value for name, value in tensors.items()}
    assert_holds(load(renamed, LONG), LONG, tensors)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_edited_positions_are_kept(dtype):
    tensors = cast(V3.file(), dtype)
    edited = {n: (0.5 * t.float()).to(dtype) if n.endswith(".pe") else t for n, t in tensors.items()}
    loaded = load(edited, V3).patcher.model.state_dict()
    assert all(torch.equal(loaded[name], edited[name].float()) for name in loaded if name.endswith(".pe"))


@pytest.mark.parametrize(
    ("flag", "dtype", "error"),
    (
        ("fp16_unet", torch.float16, 0.01),
        ("bf16_unet", torch.bfloat16, 0.05),
        ("fp8_e4m3fn_unet", torch.float8_e4m3fn, 0.2),
    ),
)
def test_precision_that_the_host_was_started_with(flag, dtype, error, monkeypatch):
    """The weights are kept in it, the positions are not, and the clip is nearly that of float32."""
    exact = sample(animate(tiny_model(), load(V3.file(), V3), MotionSettings()), steps=1)
    monkeypatch.setattr(args, flag, True)
    motion_model = load(V3.file(), V3)
    assert {weight.dtype for weight in motion_model.patcher.model.parameters() if weight.ndim > 1} == {dtype}
    assert {table.dtype for table in motion_model.patcher.model.buffers()} == {torch.float32}
    rough = sample(animate(tiny_model(), motion_model, MotionSettings()), steps=1)
    assert 0 < (rough - exact).norm() / exact.norm() < error


def test_the_host_can_load_it_again(tmp_path):
    path = tmp_path / "a.safetensors"
    safetensors.torch.save_file(V3.file(), path)
    patcher = load_motion_model(str(path)).patcher
    factory, source = patcher.cached_patcher_init
    assert factory is load_motion_patcher
    again, first = factory(*source).model.state_dict(), patcher.model.state_dict()
    assert all(torch.equal(again[name], tensor) for name, tensor in first.items())


def test_description():
    text = describe(load(as_diffusers(cast(V2.file(), torch.float16)), V2))
    lines = dict(line.split(": ", 1) for line in text.splitlines())
    assert lines == {
        "name": "tiny.safetensors",
        "family": "AnimateDiff v2",
        "recognised by": "4 levels, a mid block, 32 positions, diffusers key names",
        "base model": "SD1.5",
        "sites": "21 (down 8, mid 1, up 12)",
        "widths": "32, 64, 128",
        "architecture": "temporal_transformer",
        "frames": "trained for 16, up to 32 at once",
        "normalisation": "residual blocks per frame, motion modules per frame",
        "beta schedule": "AnimateDiff (linear)",
        "settings": "sampler_name euler, scheduler normal, steps 25, cfg 7.5, batch_size 16, context_length 16",
        "dtype": "float16, loaded as float32",
        "size": lines["size"],
    }
    weights = sum(tensor.numel() for name, tensor in V2.file().items() if not name.endswith(".pe"))
    assert re.match(rf"{weights / 1e6:.1f} million weights, {weights * 4 / 2**20:.0f} MiB$", lines["size"])


widths_of_levels = st.lists(st.integers(1, 3).map(lambda n: 32 * n), min_size=3, max_size=4).map(tuple)


def parse(checkpoint: Mapping) -> MotionFile:
    return parse_file("any.safetensors", flatten_tensors(checkpoint), None, architectures())


def named_shapes(file: MotionFile) -> dict[str, torch.Size]:
    return {
        f"{site}.{module.architecture}.{name}": tensor.shape
        for site, module in file.modules.items()
        for name, tensor in module.tensors.items()
    }


@given(widths_of_levels, st.booleans(), st.none() | st.integers(1, 40))
def test_spellings_rename_back_and_forth(widths, mid, positions):
    original = weightless(file_shapes(widths, mid, positions))
    shapes = {name: tensor.shape for name, tensor in original.items()}
    for spell in SPELLINGS.values():
        assert named_shapes(parse(spell(original))) == shapes
    assert from_diffusers(as_diffusers(original)).keys() == original.keys()
    assert parse(original).spelling == "original"
    assert parse(as_diffusers(original)).spelling == "diffusers"
    assert parse(as_hotshot(original)).spelling == "Hotshot-XL"


@pytest.mark.parametrize("spelling", ("original", "diffusers", "Hotshot-XL"))
def test_a_load_parses_each_key_once_and_reads_the_registry_once(spelling):
    expected = HOTSHOT if spelling == "Hotshot-XL" else V3
    tensors = SPELLINGS[spelling](expected.file())
    with counted_calls() as calls:
        load(tensors, expected)
    patterns = sum(count for name, count in calls.items() if name.startswith(("re.", "Pattern.")))
    assert patterns == calls["re.search"] == len(tensors)
    assert calls["architectures"] == 1


@contextmanager
def counted_calls() -> Iterator[Counter[str]]:
    """Count calls by name: those of the pack's functions, and those of regular expressions from the pack's files."""
    calls: Counter[str] = Counter()

    def is_ours(frame: FrameType | None) -> bool:
        return frame is not None and "motion_modules" in frame.f_code.co_filename

    def count(frame: FrameType, event: str, argument) -> None:
        if event == "call" and is_ours(frame):
            calls[frame.f_code.co_name] += 1
        elif event == "call" and frame.f_globals.get("__name__") == "re" and is_ours(frame.f_back):
            calls[f"re.{frame.f_code.co_name}"] += 1
        elif event == "c_call" and is_ours(frame) and argument.__qualname__.startswith("Pattern."):
            calls[argument.__qualname__] += 1

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        yield calls
    finally:
        sys.setprofile(before)


@settings(max_examples=10)
@given(widths_of_levels, st.integers(2, 40))
def test_any_width_loads(widths, positions):
    mid = len(widths) == 4
    motion_model = motion_model_from_tensors(motion_file(widths, mid, positions), "any.safetensors")
    channels = {name: spec.channels for name, spec in motion_model.specs.items()}
    assert channels == site_channels(widths, mid)
    assert motion_model.positions == positions
