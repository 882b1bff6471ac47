"""FreeInit's filters: the reference's values (E.3), and what they let through for odd and for even sizes."""

import pytest
import torch
from animatediff_loom.sampling.noise.frequency_filters import (
    FILTERS,
    FilterSettings,
    filter_frequencies,
    low_pass,
    mix_bands,
    mix_powers,
)
from torch.testing import assert_close

REFERENCE = {
    "gaussian": (503.8755, 0.606531),
    "butterworth": (170.4819, 0.5),
    "ideal": (3031.0, 1.0),
    "box": (256.0, 0.0),
}
SIZES = [(16, 8, 8), (17, 8, 6), (5, 7, 9), (1, 8, 8)]
AXES = (0, 2, 3)


def noise(size, seed: int = 0) -> torch.Tensor:
    frames, height, width = size
    return torch.randn(frames, 4, height, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("kind", FILTERS)
def test_values_of_the_reference(kind):
    centred = torch.fft.fftshift(low_pass(FilterSettings(kind), (16, 32, 32)))
    assert_close((float(centred.sum()), float(centred[10, 16, 16])), REFERENCE[kind], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kind", FILTERS)
def test_a_mix_is_the_real_part_of_the_papers_formula(kind, size):
    passes, low, high = low_pass(FilterSettings(kind), size).double(), noise(size), noise(size, 1)
    spectra = (torch.fft.fftn(clip, dim=AXES) for clip in (low, high))
    gains = passes[:, None]
    expected = torch.fft.ifftn(sum(map(torch.mul, spectra, (gains, 1 - gains))), dim=AXES).real
    assert_close(mix_bands(low, high, passes), expected)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kind", FILTERS)
def test_a_still_grey_clip_passes_and_the_fastest_flicker_does_not(kind, size):
    passes, still = low_pass(FilterSettings(kind), size).double(), torch.ones_like(noise(size))
    assert_close(filter_frequencies(still, passes), still)
    frames = len(still)
    angles = 2 * torch.pi * (frames // 2) / frames * torch.arange(frames, dtype=still.dtype)
    flicker = torch.cos(angles).view(-1, 1, 1, 1) * still
    if frames > 1:
        assert filter_frequencies(flicker, passes).norm() < 0.02 * flicker.norm()


@pytest.mark.parametrize("cutoffs", [(0.0, 0.25), (0.25, 0.0)])
def test_nothing_passes_a_cutoff_of_0(cutoffs):
    assert not low_pass(FilterSettings("gaussian", *cutoffs), (4, 8, 8)).any()


def test_all_or_nothing():
    low, high = noise((4, 8, 8)), noise((4, 8, 8), 1)
    everything = torch.ones(4, 8, 8, dtype=torch.float64)
    assert_close(mix_bands(low, high, everything), low)
    assert torch.equal(mix_bands(low, high, 0 * everything), high)
    assert_close(mix_powers(low, high, low, 0 * everything), high)
    assert_close(mix_powers(low, high, torch.zeros_like(low), everything), 0.88345 * low, atol=1e-4, rtol=0)
    assert_close(mix_powers(torch.zeros_like(low), high, low, everything), 0.46852 * low, atol=1e-4, rtol=0)


@pytest.mark.parametrize("size", [(16, 64, 64), (15, 33, 35)])
def test_only_the_variance_preserving_mix_keeps_white_noise_white(size):
    passes = low_pass(FilterSettings("gaussian"), size).double()
    low, high, fresh = (noise(size, seed) for seed in range(3))
    in_between = (passes > 0.1)[:, None].expand(-1, 4, -1, -1)

    def power(clip: torch.Tensor) -> float:
        spectrum = torch.fft.fftn(clip, dim=AXES, norm="ortho")
        return float(spectrum[in_between].abs().square().mean())

    assert power(mix_powers(low, high, fresh, passes)) == pytest.approx(1, abs=0.04)
    assert power(mix_bands(low, high, passes)) == pytest.approx(0.66, abs=0.05)
