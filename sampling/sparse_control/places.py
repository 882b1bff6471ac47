"""Frames at which the pictures of SparseCtrl stand, in the clip and in a context window."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ...motion_modules.errors import LoomError, shorten
from ...motion_modules.unet.site_patterns import SEPARATORS

UNIFORM, STARTING, ENDING, CENTRE = "uniform", "starting", "ending", "centre"
SPREADS = (UNIFORM, STARTING, ENDING, CENTRE)
_separators = rf"(?:{SEPARATORS}|\s)+"


@dataclass(frozen=True)
class PicturePlaces:
    """Places of `pictures` pictures: the frame numbers in `frames`, or a `spread` over the clip, one of SPREADS.

    Negative frame numbers count from the end, -1 being the last frame. `reaches_windows` gives a
    context window that contains none of the pictures the nearest one.
    """

    pictures: int
    frames: tuple[int, ...] = ()
    spread: str = UNIFORM
    reaches_windows: bool = True

    def find(self, total: int) -> dict[int, int]:
        """Return the pictures of a clip of `total` frames by their frames; raise LoomError if they do not fit."""
        numbers = self._resolve(total) if self.frames else spread_frames(self.pictures, total, self.spread)
        return {frame: picture for picture, frame in enumerate(numbers)}

    def _resolve(self, total: int) -> list[int]:
        numbers = [frame + total if frame < 0 else frame for frame in self.frames]
        for frame, number in zip(self.frames, numbers, strict=True):
            if not 0 <= number < total:
                raise LoomError(
                    f"`frame_numbers` of Apply SparseCtrl has {frame}, but the clip has {total} frames. Choose numbers "
                    f"from 0 to {total - 1}, or from -1 to -{total} to count from the end."
                )
            if numbers.count(number) > 1:
                raise LoomError(
                    f"`frame_numbers` of Apply SparseCtrl has frame {number} twice in a clip of {total} frames. Give "
                    "every picture a frame of its own."
                )
        return numbers

    def choose(self, window: Sequence[int], total: int) -> dict[int, int]:
        """Return the picture at each place in a `window`, which lists frames of a clip of `total` frames."""
        pictures = self.find(total)
        places = {place: pictures[frame] for place, frame in enumerate(window) if frame in pictures}
        return places or (_find_nearest(window, pictures) if self.reaches_windows else {})


def parse_frame_numbers(text: str) -> tuple[int, ...]:
    """Return the whole numbers in a text such as "0, 8, -1"; raise LoomError for anything else."""
    words = [word for word in re.split(_separators, text.strip()) if word]
    if not words:
        raise LoomError("`frame_numbers` is empty. List one frame for each picture, such as 0, 8, -1.")
    for word in words:
        if not re.fullmatch(r"[+-]?\d{1,9}", word):
            raise LoomError(
                f"`frame_numbers` has '{shorten(word, 40)}', which is not a whole number. List frames such as 0, 8, -1."
            )
    return tuple(int(word) for word in words)


def spread_frames(pictures: int, total: int, spread: str) -> list[int]:
    """Return the frames of `pictures` at equal distances, rounded down.

    uniform reaches from the first frame to the last; starting leaves out the last one, ending the
    first one, and centre both.
    """
    if pictures > total:
        raise LoomError(
            f"`images` of Apply SparseCtrl has {pictures} pictures, but the clip has {total} frames. Connect at most "
            f"{total} pictures."
        )
    if pictures == total:
        return list(range(total))
    if spread == CENTRE and total - pictures < 2:
        spread = STARTING
    first, parts = {
        UNIFORM: (0, max(1, pictures - 1)),
        STARTING: (0, pictures),
        ENDING: (1, pictures),
        CENTRE: (1, pictures + 1),
    }[spread]
    return [(first + picture) * (total - 1) // parts for picture in range(pictures)]


def _find_nearest(window: Sequence[int], pictures: Mapping[int, int]) -> dict[int, int]:
    """Return the picture nearest to `window` by its nearest place there; all that are equally near."""
    distances = {
        (place, picture): abs(frame - number)
        for place, frame in enumerate(window)
        for number, picture in pictures.items()
    }
    least = min(distances.values())
    return {place: picture for (place, picture), distance in distances.items() if distance == least}
