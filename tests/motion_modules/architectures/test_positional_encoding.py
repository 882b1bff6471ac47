"""The table of positions: vectors of reference A.1, and which table of a file is trusted."""

import pytest
import torch
from animatediff_loom.motion_modules.architectures.positional_encoding import (
    PositionalEncoding,
    choose_positions,
    sinusoidal_positions,
)
from diffusers.models.embeddings import SinusoidalPositionalEmbedding
from hypothesis import given
from hypothesis import strategies as st
from synthetic_motion import positional_table

LOW_PRECISION = (torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2)


def test_vectors():
    table = sinusoidal_positions(32, 320)
    assert table.shape == (1, 32, 320)
    first = torch.tensor((0.841471, 0.540302, 0.809946, 0.586504, 0.777858, 0.628439))
    torch.testing.assert_close(table[0, 1, :6], first, rtol=0, atol=1e-6)
    torch.testing.assert_close(table[0, 31, 318:], torch.tensor((0.003284, 0.999995)), rtol=0, atol=1e-6)
    assert torch.equal(table[0, 0], torch.tensor((0.0, 1.0)).repeat(160))


@given(st.integers(1, 128), st.integers(1, 200).map(lambda half: 2 * half))
def test_formula(length, channels):
    table = sinusoidal_positions(length, channels)
    torch.testing.assert_close(table, positional_table(length, channels), rtol=0, atol=2e-5)
    assert torch.equal(table, SinusoidalPositionalEmbedding(channels, length).pe)


@pytest.mark.parametrize("dtype", LOW_PRECISION, ids=str)
def test_rounded_tables_are_computed_again(dtype):
    stored = positional_table(32, 64).to(dtype)
    assert torch.equal(choose_positions(stored, 32, 64), sinusoidal_positions(32, 64))


@pytest.mark.parametrize("dtype", (torch.float32, *LOW_PRECISION), ids=str)
def test_edited_tables_are_kept(dtype):
    edited = (0.5 * positional_table(32, 64)).to(dtype)
    assert torch.equal(choose_positions(edited, 32, 64), edited.float())


def test_exact_and_missing_tables():
    stored = positional_table(32, 64)
    assert torch.equal(choose_positions(stored, 32, 64), stored)
    assert torch.equal(choose_positions(None, 48, 64), sinusoidal_positions(48, 64))


def test_every_window_starts_at_row_zero():
    encoding = PositionalEncoding(32, 64)
    encoding.pe.copy_(positional_table(32, 64))
    added = encoding(torch.zeros(3, 5, 64, dtype=torch.float64))
    assert added.dtype == torch.float64
    assert torch.equal(added, positional_table(32, 64)[:, :5].double().expand(3, 5, 64))
