"""Category, sockets and inputs that several nodes share."""

from comfy_api.latest import io

from ..motion_modules.architectures.registry import KnownArchitectures
from ..motion_modules.tile import PIXELS
from ..motion_modules.unet.site_patterns import ALL
from ..sampling.prompts.schedule import MAX_FRAMES
from ..sampling.windows.fusion import FUSIONS
from ..sampling.windows.schedules import WindowLayout
from ..sampling.windows.settings import LOOPED, VIEW, ContextSettings
from ..sampling.windows.tiles import TileLayout

CATEGORY = "AnimateDiff Loom"
MAX_WINDOW = 1024  # frames that a model may see at once
MAX_STEPS = 10000
MAX_SIDE = 16384  # pixels of a picture, as the host's own nodes have it
TILES, NO_TILES, TILES_BY_SIZE = "tiles", "none", "by size"

MotionModelSocket = io.Custom("MOTION_MODEL")
TrainingClipsSocket = io.Custom("TRAINING_CLIPS")
MotionStrengthSocket = io.Custom("MOTION_STRENGTH")
CameraPathSocket = io.Custom("CAMERA_PATH")
SparseControlSocket = io.Custom("SPARSE_CONTROL")
ReportSocket = io.Custom("SAMPLING_REPORT")


def advanced_float(name: str, default: float, tooltip: str, max: float = 1.0, step: float = 0.001) -> io.Float.Input:
    return io.Float.Input(
        name, default=default, min=0.0, max=max, step=step, optional=True, advanced=True, tooltip=tooltip
    )


def clip_frames(
    default: int, tooltip: str = "Length of the clip. Must equal the batch_size of its latent."
) -> io.Int.Input:
    return io.Int.Input("frames", default=default, min=1, max=MAX_FRAMES, tooltip=tooltip)


def context_length(tooltip: str, default: int = 16, min: int = 1, **options) -> io.Int.Input:
    return io.Int.Input("context_length", default=default, min=min, max=MAX_WINDOW, tooltip=tooltip, **options)


def context_overlap(tooltip: str, **options) -> io.Int.Input:
    return io.Int.Input("context_overlap", default=4, min=0, max=MAX_WINDOW - 1, tooltip=tooltip, **options)


def describe_refused(known: KnownArchitectures) -> str:
    """Return why modules of other packs cannot be used, to follow a tooltip; empty when all can."""
    return "".join(f" Not available: {error}" for error in known.refused.values())


def sites(tooltip: str) -> io.String.Input:
    return io.String.Input("sites", default=ALL, tooltip=tooltip)


def window_inputs() -> list[io.Input]:
    """Return the inputs of Context Windows that its preview has too."""
    return [
        context_length("Frames per window. Use the length the motion model was trained with, 16 for most."),
        context_overlap(
            "Frames shared by neighbouring windows; must be below context_length. A larger overlap makes smoother "
            "transitions and takes longer."
        ),
        io.DynamicCombo.Input(
            "schedule",
            options=[
                io.DynamicCombo.Option("static", []),
                io.DynamicCombo.Option("uniform", [_stride()]),
                io.DynamicCombo.Option(LOOPED, [_stride(), _closed_loop()]),
                io.DynamicCombo.Option("batched", []),
                io.DynamicCombo.Option(VIEW, []),
            ],
            tooltip="How the clip is divided into windows. static suits most clips, looped makes videos that loop. "
            "The help page describes every schedule.",
        ),
        io.Combo.Input(
            "fuse",
            options=list(FUSIONS),
            default="pyramid",
            tooltip="How overlapping windows are blended. pyramid suits most clips.",
        ),
        advanced_float(
            "start_percent",
            default=0.0,
            tooltip="Point in sampling at which these windows take effect (0 = start). Chain several Context Windows "
            "nodes to change the schedule during sampling.",
        ),
    ]


def context_settings(
    context_length: int, context_overlap: int, schedule: dict, fuse: str, start_percent: float
) -> ContextSettings:
    """Return the settings that the values of `window_inputs` stand for."""
    stride, closed_loop = schedule.get("context_stride", 1), schedule.get("closed_loop", False)
    layout = WindowLayout(context_length, context_overlap, stride, closed_loop)
    return ContextSettings(schedule["schedule"], layout, fuse, start_percent)


def tiles_input(*more: io.Input) -> io.DynamicCombo.Input:
    """Return the input for tiles of the picture; with tiles, it has `more` inputs."""
    size = io.Int.Input(
        "tile_size",
        default=512,
        min=64,
        max=MAX_SIDE,
        step=PIXELS,
        tooltip="Side of a tile in pixels, a multiple of 8. Use the size that the checkpoint was trained with, 512 for "
        "SD1.5.",
    )
    overlap = io.Int.Input(
        "tile_overlap",
        default=128,
        min=0,
        max=MAX_SIDE,
        step=PIXELS,
        tooltip="Pixels shared by neighbouring tiles, a multiple of 8; must be below tile_size. A larger overlap hides "
        "seams and takes longer.",
    )
    return io.DynamicCombo.Input(
        TILES,
        options=[
            io.DynamicCombo.Option(NO_TILES, []),
            io.DynamicCombo.Option(TILES_BY_SIZE, [size, overlap, *more]),
        ],
        optional=True,
        tooltip="by size evaluates a large picture in overlapping tiles, with the memory of one tile. For a "
        "second pass after upscaling.",
    )


def tile_layout(tiles: dict | None) -> TileLayout | None:
    """Return the tiles that the values of `tiles_input` stand for."""
    if not tiles or tiles[TILES] == NO_TILES:
        return None
    return TileLayout(tiles["tile_size"], tiles["tile_overlap"])


def _stride() -> io.Int.Input:
    return io.Int.Input(
        "context_stride",
        default=1,
        min=1,
        max=16,
        tooltip="1 uses windows of consecutive frames. 2 adds windows of every second frame, 3 of every fourth frame, "
        "and so on. Higher values keep distant frames consistent and take longer.",
    )


def _closed_loop() -> io.Boolean.Input:
    return io.Boolean.Input(
        "closed_loop",
        default=True,
        tooltip="On joins the end of the clip to its start, so that the video loops seamlessly. Off makes an open "
        "clip: no window leads from the last frame to the first.",
    )
