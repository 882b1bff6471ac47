"""Measurements of a picture or clip from its pixels: colour, shape, place and motion of the object.

Pictures are `[3, size, size]` and clips `[frames, 3, size, size]`, in 0 to 1; lengths are pixels of
a 64 px picture.
"""

import colorsys
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import torch

from .world import BACKGROUNDS, COLOURS, DIRECTIONS, FRAMES, MOTIONS, SHAPES, UNIT, Scene, coverage, draw_frames

LEAST_COLOUR = 0.25  # of an object; ghosts on the grounds and errors of the autoencoder have less
LEAST_AREA = 30.0
LEAST_TRAVEL, LEAST_GROWTH = 8.0, 1.7


@dataclass(frozen=True)
class Reading:
    """Content of one frame; `cue` is the motion that its ghosts suggest. `area` is in square pixels; 0: no object."""

    shape: str
    colour: str
    cue: str
    x: float
    y: float
    area: float


NOTHING = Reading("", "", "", UNIT / 2, UNIT / 2, 0.0)


@dataclass(frozen=True)
class ClipReading:
    """Content of a clip: its motion by displacement and growth, and the mean step of its object between frames."""

    frames: tuple[Reading, ...]
    motion: str
    mean_step: float

    @property
    def steady(self) -> bool:
        """True if colour and shape stay the same; one frame in eight may be misread."""
        allowed = len(self.frames) // 8
        return all(self._count_changes(name) <= allowed for name in ("shape", "colour"))

    def most_common(self, name: str) -> str:
        values = [getattr(frame, name) for frame in self.frames]
        return max(values, key=values.count)

    def _count_changes(self, name: str) -> int:
        return sum(getattr(frame, name) != self.most_common(name) for frame in self.frames)


def read_frame(picture: torch.Tensor) -> Reading:
    """Find the scene whose drawing is nearest to the picture, among all shapes and cues at the object's place."""
    mask = object_mask(picture)
    pixel = UNIT / picture.shape[-1]
    area = float(mask.sum()) * pixel**2
    if area < LEAST_AREA:
        return NOTHING
    x, y = centroid(mask)
    colour = nearest_colour(picture, mask)
    shape = nearest_shape(mask, x, y, area)
    return Reading(shape, colour, nearest_cue(picture, shape, colour, x, y, area), x, y, area)


def read_clip(clip: torch.Tensor) -> ClipReading:
    frames = tuple(read_frame(picture) for picture in clip)
    seen = [frame for frame in frames if frame.area]
    steps = [math.dist((a.x, a.y), (b.x, b.y)) for a, b in pairwise(seen)]
    return ClipReading(frames, classify_motion(seen), sum(steps) / max(1, len(steps)))


def classify_motion(frames: Sequence[Reading]) -> str:
    """Compare the first quarter of a clip with its last: the longer displacement, else growth, else still."""
    if len(frames) < 4:
        return ""
    quarter = len(frames) // 4
    start, end = _mean(frames[:quarter]), _mean(frames[-quarter:])
    dx, dy = end[0] - start[0], end[1] - start[1]
    if max(abs(dx), abs(dy)) > LEAST_TRAVEL:
        return max(DIRECTIONS, key=lambda name: DIRECTIONS[name][0] * dx + DIRECTIONS[name][1] * dy)
    if end[2] > LEAST_GROWTH * start[2]:
        return "grow"
    return "shrink" if start[2] > LEAST_GROWTH * end[2] else "still"


def object_mask(picture: torch.Tensor) -> torch.Tensor:
    """Return `[size, size]`, true where colour is strong: grounds are grey, and ghosts are faint."""
    chroma = picture.amax(0) - picture.amin(0)
    strongest = chroma.flatten().topk(max(8, chroma.numel() // 200)).values.median()
    return chroma > max(LEAST_COLOUR, 0.55 * float(strongest))


def centroid(mask: torch.Tensor) -> tuple[float, float]:
    rows, columns = mask.nonzero(as_tuple=True)
    pixel = UNIT / mask.shape[-1]
    return (float(columns.float().mean()) + 0.5) * pixel, (float(rows.float().mean()) + 0.5) * pixel


def nearest_colour(picture: torch.Tensor, mask: torch.Tensor) -> str:
    """Find the colour by hue, in degrees on the colour wheel."""
    hue = _hue(picture[:, mask].mean(1).tolist())
    return min(COLOURS, key=lambda name: abs((_hue(COLOURS[name]) - hue + 180) % 360 - 180))


def nearest_shape(mask: torch.Tensor, x: float, y: float, area: float) -> str:
    """Find the shape that overlaps the mask best when drawn with the same area and centre."""
    return max(SHAPES, key=lambda shape: _overlap(mask, _same_area(shape, x, y, area, mask.shape[-1])))


def nearest_cue(picture: torch.Tensor, shape: str, colour: str, x: float, y: float, area: float) -> str:
    """Find the motion whose frame, with the same object at the same place, differs least from the picture."""
    ground = float(picture.flatten(1).median(1).values.mean())
    background = min(BACKGROUNDS, key=lambda name: abs(BACKGROUNDS[name] - ground))
    drawn = draw_frames([_scene(shape, colour, background, cue, x, y, area) for cue in MOTIONS], picture.shape[-1])
    errors = (drawn - picture).square().mean((1, 2, 3))
    return MOTIONS[int(errors.argmin())]


def _scene(
    shape: str, colour: str, background: str, motion: str, x: float, y: float, area: float
) -> tuple[Scene, float]:
    """Return a scene, and the frame at which its object is at `x`, `y` with this `area`."""
    radius, (dx, dy) = _radius(shape, area), _offset(shape)
    return Scene(shape, colour, background, motion, x - dx * radius, y - dy * radius, radius), (FRAMES - 1) / 2


def _same_area(shape: str, x: float, y: float, area: float, size: int) -> torch.Tensor:
    radius = _radius(shape, area)
    dx, dy = _offset(shape)
    state = torch.tensor([x - dx * radius, y - dy * radius, radius])
    return coverage(shape, state, size) > 0.5


def _overlap(a: torch.Tensor, b: torch.Tensor) -> float:
    return float((a & b).sum() / (a | b).sum().clamp(min=1))


def _radius(shape: str, area: float) -> float:
    return math.sqrt(area / _unit(shape)[0])


def _offset(shape: str) -> tuple[float, float]:
    """Return the offset of the centroid from the centre of the drawing, in radii."""
    return _unit(shape)[1:]


@lru_cache
def _unit(shape: str) -> tuple[float, float, float]:
    """Return area and centroid of a shape of radius 1 around 0."""
    radius = UNIT / 4
    mask = coverage(shape, torch.tensor([UNIT / 2, UNIT / 2, radius]), int(UNIT)) > 0.5
    x, y = centroid(mask)
    return float(mask.sum()) / radius**2, (x - UNIT / 2) / radius, (y - UNIT / 2) / radius


def _mean(frames: Sequence[Reading]) -> tuple[float, float, float]:
    x, y, area = (sum(getattr(frame, name) for frame in frames) / len(frames) for name in ("x", "y", "area"))
    return x, y, area


def _hue(colour: Sequence[float]) -> float:
    return 360 * colorsys.rgb_to_hsv(*colour)[0]
