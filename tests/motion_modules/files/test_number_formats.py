"""Numbers that no cast may change: weights are floats, and buffers of other packs stay as they are."""

import pytest
import torch
from animatediff_loom.motion_modules.files.loading import load_motion_model, motion_model_from_tensors
from safetensors.torch import save_file

from tests.support.motion_files import V3
from tests.support.texts import expect_error

SITE = "down_blocks.0.motion_modules.0.temporal_transformer."
OTHER_DTYPES = ("bool", "int8", "uint8", "int16", "int32", "int64", "uint16", "complex64", "complex128")


@pytest.mark.parametrize("dtype", OTHER_DTYPES)
@pytest.mark.parametrize("parameter", ("proj_in.weight", "norm.bias"))
@pytest.mark.filterwarnings("ignore:Casting complex")
def test_weights_that_are_no_floats_are_refused(dtype, parameter):
    tensors = V3.file()
    tensors[SITE + parameter] = tensors[SITE + parameter].to(getattr(torch, dtype))
    with expect_error("'odd.ckpt'", f"has {dtype} as '{SITE}{parameter}'", "expected floating-point", "Choose another"):
        motion_model_from_tensors(tensors, "odd.ckpt")


@pytest.mark.parametrize("dtype", OTHER_DTYPES[:-1])
@pytest.mark.parametrize("suffix", (".safetensors", ".ckpt"))
@pytest.mark.filterwarnings("ignore:Casting complex")
def test_a_file_whose_weights_are_all_no_floats_is_refused(dtype, suffix, tmp_path):
    path = tmp_path / f"odd{suffix}"
    tensors = {name: tensor.to(getattr(torch, dtype)) for name, tensor in V3.file().items()}
    save_file(tensors, path) if suffix == ".safetensors" else torch.save(tensors, path)
    with expect_error(f"'{path.name}'", f"has {dtype} as", "expected floating-point"):
        load_motion_model(str(path))


@pytest.mark.parametrize(
    ("parameter", "shape"),
    (
        ("proj_in.weight", (0, 0)),
        ("proj_in.weight", (32, 0)),
        ("norm.weight", (0,)),
        ("transformer_blocks.0.attention_blocks.0.pos_encoder.pe", (1, 0, 32)),
        ("transformer_blocks.0.ff.net.2.weight", (32, 0)),
    ),
)
@pytest.mark.parametrize("everywhere", (True, False))
def test_tensors_without_numbers_are_refused(parameter, shape, everywhere):
    names = [name for name in V3.file() if name.endswith(parameter) and (everywhere or name.startswith(SITE))]
    tensors = V3.file() | {name: torch.zeros(shape) for name in names}
    with expect_error("'odd.ckpt'", f"without numbers, of shape {list(shape)}", parameter, "Choose another"):
        motion_model_from_tensors(tensors, "odd.ckpt")


def test_a_file_whose_tensors_have_no_numbers_is_refused():
    tensors = {name: torch.zeros([0] * tensor.ndim) for name, tensor in V3.file().items()}
    with expect_error("'odd.ckpt'", "without numbers"):
        motion_model_from_tensors(tensors, "odd.ckpt")
