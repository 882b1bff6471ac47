"""Pictures that show clips of Loom Mini: that of the README, strengths, noise, and a prompt schedule."""

from pathlib import Path

from diagrams.drawing import BLUE, FAINT, GREEN, PAPER, TEXT, pack, style, write
from PIL import Image

from .animation import GAP, LABEL, NOTE, PANEL, LabelledClip, Sheet, save_animation, scale, tile_clips
from .clips import Shot, Studio

WINDOWS = {"context_length": 16, "context_overlap": 4, "schedule": "static", "fuse": "pyramid"}
WITHOUT_REFERENCE = WINDOWS | {"reference_until": 0.0}
FREE_NOISE = {"noise_type": "FreeNoise", "noise_type.context_length": 16, "noise_type.context_overlap": 4}
FREE_INIT, FREE_INIT_SEED = {"filter": "butterworth", "variance_preserving": True}, 42
# A background is named where frames are not held together: without one they flash from black to white.
CIRCLE, STAR = "a red circle moving right on a grey background", "a blue star moving up on a grey background"
TRAVEL = """0-5: a red square moving up
...
10-21: a green square moving right
...
26-31: a blue square moving down"""
TRAVEL_FRAMES, TRAVEL_SUFFIX = 32, "on a grey background"
TRAVEL_HUES = ((225, 80, 80), GREEN, BLUE)
README_WIDTH = 880


def travel_shot() -> Shot:
    return Shot(frames=TRAVEL_FRAMES, schedule=TRAVEL, suffix=TRAVEL_SUFFIX)


def mini_shots() -> dict[str, Shot]:
    """Return four prompts that Loom Mini knows, by their labels in two lines."""
    return {
        "a red circle\nmoving right": Shot(CIRCLE),
        "a blue star\nmoving up": Shot("a blue star moving up"),
        "a green square\nmoving left": Shot("a green square moving left"),
        "a yellow triangle\nmoving down": Shot("a yellow triangle moving down"),
    }


def draw_readme(studio: Studio, file: Path) -> None:
    """Draw eight clips: five prompts, one of them without the motion model too, a prompt schedule and a long clip."""
    long_clip = [("LoomContextWindows", WINDOWS), ("LoomVideoNoise", FREE_NOISE)]
    shots = mini_shots() | {
        "the circle without\na motion model": Shot(CIRCLE, inputs={"strength": 0.0}),
        "Prompt Schedule:\nred, green, blue": travel_shot(),
        "32 frames in\ncontext windows": Shot(STAR, frames=32, model_nodes=long_clip),
        "a cyan star\nmoving right": Shot("a cyan star moving right"),
    }
    foot = "Loom Mini, the 38 MB model of this pack: 64 x 64 pixels, 12 steps, on a CPU"
    save_animation(tile_clips(_film_all(studio, shots), Sheet(4, README_WIDTH, NOTE, lines=2), foot), file)


def draw_mini(studio: Studio, file: Path) -> None:
    """Draw four clips for the page of Load Loom Mini."""
    save_animation(tile_clips(_film_all(studio, mini_shots()), Sheet(2, size=NOTE, lines=2)), file)


def _film_all(studio: Studio, shots: dict[str, Shot]) -> list[LabelledClip]:
    return [LabelledClip(studio.film(shot), label) for label, shot in shots.items()]


def draw_strength(studio: Studio, file: Path) -> None:
    """Draw clips of one seed at three strengths."""
    shots = {f"{strength:g}": Shot(CIRCLE, inputs={"strength": strength}) for strength in (0.5, 1.0, 1.5)}
    clips = [LabelledClip(studio.film(shot), f"strength {label}") for label, shot in shots.items()]
    save_animation(tile_clips(clips, Sheet(3, size=LABEL)), file)


def draw_noise(studio: Studio, file: Path) -> None:
    """Draw a long clip with and without FreeNoise."""
    windows = ("LoomContextWindows", WITHOUT_REFERENCE)
    nodes = {"without": [windows], "with FreeNoise": [windows, ("LoomVideoNoise", FREE_NOISE)]}
    clips = [
        LabelledClip(studio.film(Shot(STAR, frames=32, model_nodes=added)), label) for label, added in nodes.items()
    ]
    save_animation(tile_clips(clips, Sheet(2, size=LABEL)), file)


def draw_free_init(studio: Studio, file: Path) -> None:
    """Draw a clip at half strength without and with FreeInit."""
    clips = []
    for label, iterations in {"without": 1, "with FreeInit": 3}.items():
        nodes = [("LoomFreeInit", FREE_INIT | {"iterations": iterations})]
        shot = Shot("a red circle moving left", seed=FREE_INIT_SEED, inputs={"strength": 0.5}, model_nodes=nodes)
        clips.append(LabelledClip(studio.film(shot), label))
    save_animation(tile_clips(clips, Sheet(2, size=LABEL)), file)


def draw_travel(studio: Studio, file: Path) -> None:
    """Draw a clip under the time line of its prompts."""
    schedule = pack("sampling.prompts.schedule")
    keys = schedule.parse_schedule(TRAVEL, TRAVEL_FRAMES)
    blends = schedule.plan_blends(keys, TRAVEL_FRAMES)
    frames = studio.film(travel_shot())
    save_animation([_draw_travel_frame(keys, blends, frames, number) for number in range(TRAVEL_FRAMES)], file)


def _draw_travel_frame(keys, blends, frames: list[Image.Image], number: int) -> Image.Image:
    side, top, cell = 300, 62, (PANEL - 2 * GAP) / TRAVEL_FRAMES
    page = Image.new("RGB", (PANEL, top + 2 * GAP + side), PAPER)
    pen = style.Pen(page)
    for frame, blend in enumerate(blends):
        x = GAP + frame * cell
        pen.rectangle((x, 14, x + cell - 1, 46), _mix(TRAVEL_HUES[blend.before], TRAVEL_HUES[blend.after], blend.t))
    x = GAP + (number + 0.5) * cell
    pen.rectangle((x - 2, 6, x + 2, 54), TEXT)
    page.paste(scale(frames[number], side), (GAP, top + GAP))
    _write_shares(pen, keys, blends[number], number, (GAP * 2 + side, top + GAP))
    return page


def _write_shares(pen, keys, blend, number: int, place: tuple[int, int]) -> None:
    left, top = place
    write(pen, (left, top), f"frame {number}", FAINT, LABEL)
    shares = {blend.before: 1 - blend.t, blend.after: blend.t} if blend.before != blend.after else {blend.before: 1.0}
    for row, (key, share) in enumerate(shares.items()):
        y = top + 48 + row * 116
        write(pen, (left, y), f"{share:.0%}", TRAVEL_HUES[key], LABEL)
        words = keys[key].prompt.split(" moving ")
        for line, text in enumerate((words[0], f"moving {words[1]}")):
            write(pen, (left, y + 34 + line * 28), text, TEXT, NOTE)


def _mix(one: tuple[int, ...], other: tuple[int, ...], t: float) -> tuple[int, ...]:
    return tuple(round(a + (b - a) * t) for a, b in zip(one, other, strict=True))
