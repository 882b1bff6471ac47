"""Picture of a camera path: cameras from above and from the side, and what they see of the first picture."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy
import torch

from ...motion_modules.errors import LoomError
from ...sampling.camera.picture_motion import find_picture_steps
from ...sampling.camera.poses import CameraPath, to_square
from ...sampling.camera.rays import fit_lenses
from ...sampling.noise.paths import combine_steps
from ..figures.figure import HEADING, Panel, draw_figure, draw_heading, join_panels
from ..figures.style import BED, FAINT, GRID, HUES, NUMBER_SIZE, TEXT, Box, Colour, Pen, load_font

PANEL = 420  # pixels
ROOM = 30  # between a panel's edge and what it shows
REACH = 0.15  # length of a camera's field of view, as a part of the panel
LEGIBLE = 30  # pixels between two numbers
MAX_CAMERAS = 33  # more of them would cover each other
PICTURE = (160, 90)  # width and height of the picture whose outlines are drawn
SIDES = {"from above": ((0, 2), "x, z"), "from the right": ((2, 1), "z, y")}
REMARK = "Blue: first frame. Orange: last frame. A wedge is the field of view of a camera, the cross the subject."

Points = numpy.ndarray


@dataclass(frozen=True)
class Shape:
    """Lines through `points` `[points, 2]`, closed, in the colour of a frame."""

    points: Points
    hue: Colour


def draw(path: CameraPath) -> torch.Tensor:
    """Draw `path` as an IMAGE `[1, height, width, 3]`."""
    numbers = _choose_frames(path.frames)
    title = f"Camera path: {path.frames} frame{'s' * (path.frames > 1)}"
    panels = [_draw_cameras(path, numbers, name, axes, unit) for name, (axes, unit) in SIDES.items()]
    return draw_figure(title, REMARK, [join_panels(*panels, _draw_outlines(path, numbers))])


def _choose_frames(frames: int) -> list[int]:
    return sorted({round(number) for number in numpy.linspace(0, frames - 1, min(frames, MAX_CAMERAS))})


def _draw_cameras(path: CameraPath, numbers: Sequence[int], name: str, axes: tuple[int, int], unit: str) -> Panel:
    """Draw the cameras on the plane of two `axes`, the second one upwards where it is forward, else down."""
    cameras = torch.linalg.inv(to_square(path.poses))
    flip = numpy.array((1, -1 if axes[1] == 2 else 1))
    places = cameras[:, :3, 3].numpy()[:, axes] * flip
    subject = path.subject.numpy()[list(axes)] * flip
    everything = numpy.vstack((places, subject))
    reach = REACH * max(float(numpy.ptp(everything, axis=0).max()), 1e-3)
    fields = [_find_field(path, cameras, number, axes, reach) * flip for number in numbers]
    shapes = [Shape(field, _pick_hue(number, path.frames)) for number, field in zip(numbers, fields, strict=True)]
    return _plot(name, unit, [*shapes], places, subject, path.frames)


def _find_field(path: CameraPath, cameras: torch.Tensor, number: int, axes: tuple[int, int], reach: float) -> Points:
    """Return the corners of the field of view on the plane of `axes`: the camera and two ends."""
    width = PICTURE[0] if axes[0] == 0 else PICTURE[1]
    focal = float(fit_lenses(path, *PICTURE)[number, 0 if axes[0] == 0 else 1])
    edge = width / 2 / focal
    sides = [(-edge, 0.0), (edge, 0.0)] if axes[0] == 0 else [(0.0, -edge), (0.0, edge)]
    ends = torch.tensor([[0.0, 0.0, 0.0], *([x, y, 1.0] for x, y in sides)], dtype=torch.float64)
    ends = ends / ends.norm(dim=1, keepdim=True).clamp(min=1) * reach
    return (ends @ cameras[number, :3, :3].T + cameras[number, :3, 3]).numpy()[:, axes]


def _draw_outlines(path: CameraPath, numbers: Sequence[int]) -> Panel:
    """Draw what later frames show as outlines in the picture of the first frame."""
    width, height = PICTURE
    try:
        steps = find_picture_steps(path, width, height)
    except LoomError:
        return Panel(PANEL, lambda pen, box: draw_heading(pen, box, "in the picture", "none: it passes the subject"))
    y, x = height / 2, width / 2
    corners = torch.tensor(((-y, -x), (-y, x), (y, x), (y, -x)), dtype=torch.float64)
    places = torch.stack([corners @ matrix.T + shift for matrix, shift in combine_steps(steps)]).flip(-1).numpy()
    shapes = [Shape(places[number], _pick_hue(number, path.frames)) for number in numbers]
    return _plot("in the picture", "what each frame shows", shapes, places.mean(axis=1), None, path.frames)


def _plot(title: str, unit: str, shapes: Sequence[Shape], track: Points, cross: Points | None, frames: int) -> Panel:
    def draw_panel(pen: Pen, box: Box) -> None:
        draw_heading(pen, box, title, unit)
        area = (box[0], box[1] + HEADING, box[2], box[3])
        pen.rectangle(area, BED)
        every = numpy.vstack([track, *(shape.points for shape in shapes), *([] if cross is None else [cross[None]])])
        place = _fit(every, area)
        pen.line([tuple(point) for point in place(track)], GRID, 2)
        for shape in reversed(shapes):
            corners = [tuple(point) for point in place(shape.points)]
            pen.line([*corners, corners[0]], shape.hue, 2)
        if cross is not None:
            x, y = place(cross[None])[0]
            pen.line((x - 7, y, x + 7, y), TEXT, 2)
            pen.line((x, y - 7, x, y + 7), TEXT, 2)
        _write_ends(pen, place(track), frames)

    return Panel(PANEL, draw_panel)


def _fit(points: Points, area: Box):
    """Return the function that puts `points` into the middle of `area`, at one scale for both axes."""
    low, high = points.min(axis=0), points.max(axis=0)
    size = numpy.array((area[2] - area[0], area[3] - area[1])) - 2 * ROOM
    scale = float((size / numpy.maximum(high - low, 1e-9)).min())
    middle = numpy.array(((area[0] + area[2]) / 2, (area[1] + area[3]) / 2))
    return lambda values: (values - (low + high) / 2) * scale + middle


def _write_ends(pen: Pen, track: Points, frames: int) -> None:
    ends = {"0": track[0], str(frames - 1): track[-1]}
    if numpy.abs(track[0] - track[-1]).max() < LEGIBLE:
        ends = {", ".join(ends): track[0]}
    for text, (x, y) in ends.items():
        pen.text((x + 8, y + 8), text, FAINT, load_font(NUMBER_SIZE))


def _pick_hue(number: int, frames: int) -> Colour:
    """Return a colour from that of the first to that of the last frame."""
    part = number / max(1, frames - 1)
    return tuple(round((1 - part) * first + part * last) for first, last in zip(*HUES[:2], strict=True))
