"""Low-pass filters over frames, height and width, and the mixing of two noises by them (Wu et al. 2023, "FreeInit").

Frequencies are relative to the highest one, so from -1 to 1 along each axis. Filters are
`[frames, height, width]` in the order of `torch.fft.fftn`, with frequency 0 first, which is exact
for odd and for even sizes.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from einops import rearrange

Size = tuple[int, int, int]  # frames, height, width
CLIP_AXES = (0, 2, 3)  # of latents [frames, channels, height, width]
SIMILARITY = 0.8  # r of Yuan et al. 2025, "FreqPrior": the part of the earlier clip in its low frequencies


@dataclass(frozen=True)
class FilterSettings:
    """A filter from `FILTERS`, its cut-off frequencies, and the `order` of Butterworth's."""

    kind: str = "butterworth"
    spatial_cutoff: float = 0.25
    temporal_cutoff: float = 0.25
    order: int = 4


def square_distances(settings: FilterSettings, size: Size) -> torch.Tensor:
    """Return the squared distance of each frequency from 0, scaled so that cut-offs lie at `spatial_cutoff`."""
    time, *space = (2 * torch.fft.fftfreq(length) for length in size)
    time = time * settings.spatial_cutoff / settings.temporal_cutoff
    return time[:, None, None] ** 2 + space[0][None, :, None] ** 2 + space[1][None, None, :] ** 2


def gaussian(settings: FilterSettings, size: Size) -> torch.Tensor:
    return torch.exp(-square_distances(settings, size) / (2 * settings.spatial_cutoff**2))


def butterworth(settings: FilterSettings, size: Size) -> torch.Tensor:
    return 1 / (1 + (square_distances(settings, size) / settings.spatial_cutoff**2) ** settings.order)


def ideal(settings: FilterSettings, size: Size) -> torch.Tensor:
    """Return 1 inside the cut-off, else 0; its square is 2 * cut-off, as in the authors' code."""
    return (square_distances(settings, size) <= 2 * settings.spatial_cutoff).float()


def box(settings: FilterSettings, size: Size) -> torch.Tensor:
    """Return 1 where each axis is inside its cut-off, else 0; frequency 0 always is.

    The highest frequency inside counts on one side only, as in the authors' code.
    """
    cutoffs = (settings.temporal_cutoff, settings.spatial_cutoff, settings.spatial_cutoff)
    time, height, width = (_inside(length, cutoff) for length, cutoff in zip(size, cutoffs, strict=True))
    return time[:, None, None] * height[None, :, None] * width[None, None, :]


def _inside(length: int, cutoff: float) -> torch.Tensor:
    edge = round(length // 2 * cutoff)
    number = (torch.arange(length) + length // 2) % length - length // 2
    return ((number >= -edge) & (number < max(1, edge))).float()


FILTERS: dict[str, Callable[[FilterSettings, Size], torch.Tensor]] = {
    "butterworth": butterworth,
    "gaussian": gaussian,
    "ideal": ideal,
    "box": box,
}


def low_pass(settings: FilterSettings, size: Size) -> torch.Tensor:
    """Return the filter that `settings` describe; all zeros with a cut-off of 0."""
    if settings.spatial_cutoff <= 0 or settings.temporal_cutoff <= 0:
        return torch.zeros(size)
    return FILTERS[settings.kind](settings, size)


def mix_bands(low: torch.Tensor, high: torch.Tensor, passes: torch.Tensor) -> torch.Tensor:
    """Return the low frequencies of `low` and the rest of `high`, both `[frames, channels, height, width]`.

    `passes` is the filter L: the result is L * low + (1 - L) * high in the Fourier domain.
    """
    return high + filter_frequencies(low - high, passes)


def mix_powers(low: torch.Tensor, high: torch.Tensor, fresh: torch.Tensor, passes: torch.Tensor) -> torch.Tensor:
    """Return a mix that stays white noise of variance 1 when all three are (Yuan et al. 2025, "FreqPrior").

    The result is L * (a * low + b * fresh) + sqrt(1 - L^2) * high in the Fourier domain, where
    a^2 + b^2 = 1.
    """
    kept = (2 / (1 + SIMILARITY**2)) ** 0.5 * SIMILARITY
    renewed = ((1 - SIMILARITY**2) / (1 + SIMILARITY**2)) ** 0.5
    passes = _make_even(passes)
    rest = (1 - passes**2).clamp(min=0).sqrt()
    return _to_clip(_spectrum(kept * low + renewed * fresh, passes) + _spectrum(high, rest), low)


def filter_frequencies(clip: torch.Tensor, gains: torch.Tensor) -> torch.Tensor:
    """Return the real part of `clip`, `[frames, channels, height, width]`, with its frequencies times `gains`."""
    return _to_clip(_spectrum(clip, _make_even(gains)), clip)


def _spectrum(clip: torch.Tensor, gains: torch.Tensor) -> torch.Tensor:
    half = gains[..., : clip.shape[-1] // 2 + 1]
    return torch.fft.rfftn(clip, dim=CLIP_AXES) * rearrange(half, "frame h w -> frame 1 h w")


def _to_clip(spectrum: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    return torch.fft.irfftn(spectrum, s=[like.shape[axis] for axis in CLIP_AXES], dim=CLIP_AXES)


def _make_even(gains: torch.Tensor) -> torch.Tensor:
    """Return the mean of the gains at each frequency and its negative: the real part of the result needs no more."""
    axes = (0, 1, 2)
    return (gains + gains.flip(axes).roll((1, 1, 1), axes)) / 2
