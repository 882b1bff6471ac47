"""Motion models of one's own: made new, put together from others, written to a file."""

from pathlib import Path

import folder_paths
from comfy_api.latest import io, ui

from ..motion_modules.architectures.architecture import OUR_NAME, Architecture, no_objection
from ..motion_modules.architectures.registry import architectures, log_refused
from ..motion_modules.architectures.trial import SITE
from ..motion_modules.beta_schedules import BETA_SCHEDULES
from ..motion_modules.contract import UNLIMITED
from ..motion_modules.errors import LoomError
from ..motion_modules.families import USUAL_BETA_SCHEDULE
from ..motion_modules.files.replacing import MODES, REPLACE, replace_modules
from ..motion_modules.files.saving import save_motion_model
from ..motion_modules.files.untrained import Clip, new_motion_model
from ..motion_modules.unet.site_patterns import ALL
from .context_windows import LONGEST
from .motion_model import CATEGORY, MotionModelSocket

OURS_FIRST = "temporal_transformer"


def _sites(tooltip: str, **options) -> io.String.Input:
    return io.String.Input("sites", default=ALL, tooltip=tooltip, **options)


def _size(name: str) -> io.Int.Input:
    return io.Int.Input(
        name,
        default=512,
        min=64,
        max=16384,
        step=8,
        tooltip=f"{name.capitalize()} of the videos that it is for, in pixels: places where this architecture would be "
        "too large stay empty.",
    )


def _positions() -> io.Int.Input:
    return io.Int.Input(
        "positions",
        default=32,
        min=1,
        max=LONGEST,
        tooltip="The most frames that it can see at once, a context window for instance; not below frames.",
    )


def _option(architecture: Architecture) -> io.DynamicCombo.Option:
    """What fresh modules of an architecture depend on."""
    limited = architecture.config.for_site(SITE).positions != UNLIMITED
    sized = architecture.objection is not no_objection
    inputs: list[io.Input] = [_positions()] if limited else []
    if sized:
        inputs += [_size("width"), _size("height")]
    return io.DynamicCombo.Option(architecture.key, inputs)


def _options() -> list[io.DynamicCombo.Option]:
    """All that are registered now, by other packs too: that of AnimateDiff, this pack's others, those of others."""
    known = log_refused(architectures()).usable.values()
    ordered = sorted(known, key=lambda each: (each.origin != OUR_NAME, each.key != OURS_FIRST))
    return [_option(architecture) for architecture in ordered]


class NewMotionModel(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LoomNewMotionModel",
            display_name="New Motion Model",
            category=CATEGORY,
            description="Makes an untrained motion model of a chosen architecture for a model. It changes nothing "
            "until it is trained: a start for training, and a way to try an architecture.",
            search_aliases=["custom motion module", "architecture", "fresh motion model", "untrained"],
            inputs=[
                io.Model.Input("model", tooltip="The SD1.5, SDXL or other UNet model that it is to fit."),
                io.DynamicCombo.Input(
                    "architecture",
                    options=_options(),
                    tooltip="What its modules compute. temporal_transformer is that of AnimateDiff; other "
                    "custom-node packs can add theirs.",
                ),
                io.Int.Input(
                    "frames", default=16, min=1, max=LONGEST, tooltip="Frames of the clips that it will be trained on."
                ),
                _sites(
                    "Where it has modules: down.1, up.*, mid for instance, and * for wherever this architecture can be."
                ),
                io.Combo.Input(
                    "beta_schedule",
                    options=list(BETA_SCHEDULES),
                    default=USUAL_BETA_SCHEDULE,
                    optional=True,
                    advanced=True,
                    tooltip="The noise schedule that it will be trained with, which auto on Apply Motion Model takes.",
                ),
                io.Int.Input(
                    "seed",
                    default=0,
                    min=0,
                    max=2**64 - 1,
                    control_after_generate=False,
                    optional=True,
                    advanced=True,
                    tooltip="Decides its random weights, which show once it is trained.",
                ),
            ],
            outputs=[MotionModelSocket.Output(display_name="motion_model")],
        )

    @classmethod
    def execute(
        cls,
        model,
        architecture: dict,
        frames: int,
        sites: str,
        beta_schedule: str = USUAL_BETA_SCHEDULE,
        seed: int = 0,
    ) -> io.NodeOutput:
        given = {name: architecture[name] for name in ("positions", "width", "height") if name in architecture}
        clip = Clip(frames, **given)
        return io.NodeOutput(
            new_motion_model(
                model, architecture["architecture"], clip, sites=sites, beta_schedule=beta_schedule, seed=seed
            )
        )


class ReplaceMotionModules(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LoomReplaceMotionModules",
            display_name="Replace Motion Modules",
            category=CATEGORY,
            description="Puts modules of one motion model into a copy of another, at chosen sites, in place of its own "
            "or behind them: a module of your own inside a trained motion model for instance.",
            search_aliases=["swap motion modules", "stack motion modules", "merge motion models", "custom module"],
            inputs=[
                MotionModelSocket.Input("motion_model", tooltip="The motion model to change a copy of."),
                MotionModelSocket.Input("modules", tooltip="The motion model to take modules from."),
                _sites(
                    "Which modules to take, with commas between: down.1 is a level, up.1.2 one module, mid the middle, "
                    "up.* or up all on the way up, * all."
                ),
                io.Combo.Input(
                    "mode",
                    options=list(MODES),
                    default=REPLACE,
                    optional=True,
                    tooltip="replace puts them in place of those that are there. stack keeps those, and runs the "
                    "others behind them.",
                ),
            ],
            outputs=[MotionModelSocket.Output(display_name="motion_model")],
        )

    @classmethod
    def execute(cls, motion_model, modules, sites: str, mode: str = REPLACE) -> io.NodeOutput:
        return io.NodeOutput(replace_modules(motion_model, modules, sites, mode))


class SaveMotionModel(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LoomSaveMotionModel",
            display_name="Save Motion Model",
            category=CATEGORY,
            description="Writes a motion model to a safetensors file in ComfyUI's output folder; moved to "
            "models/animatediff_models, Load Motion Model loads it.",
            search_aliases=["export motion model", "write motion module"],
            is_output_node=True,
            inputs=[
                MotionModelSocket.Input("motion_model", tooltip="The motion model to write."),
                io.String.Input(
                    "filename_prefix",
                    default="animatediff_models/loom",
                    tooltip="Where in the output folder, and how the file's name begins; a number follows, so that "
                    "nothing is overwritten. %year%, %month% and %day% stand for today.",
                ),
            ],
            outputs=[io.String.Output(display_name="file")],
        )

    @classmethod
    def execute(cls, motion_model, filename_prefix: str) -> io.NodeOutput:
        path = _new_file(filename_prefix)
        save_motion_model(motion_model, path)
        file = path.relative_to(folder_paths.get_output_directory()).as_posix()
        size = path.stat().st_size / 2**20
        text = f"{file} ({size:.1f} MiB) is in the output folder: move it to models/animatediff_models to load it."
        return io.NodeOutput(file, ui=ui.PreviewText(text))


def _new_file(prefix: str) -> Path:
    """A file in the output folder that is not there yet, named and numbered as the host does."""
    stem = prefix.removesuffix(".safetensors")
    if not stem.strip(" ./\\") or "\0" in stem or Path(stem).name.startswith("."):
        raise LoomError(
            f"`filename_prefix` is {prefix!r}, which is no name of a file: enter how it begins, such as my_motion."
        )
    try:
        folder, name, number, _, _ = folder_paths.get_save_image_path(stem, folder_paths.get_output_directory())
    except Exception as error:  # the host raises Exception itself for a folder outside
        raise LoomError(
            f"`filename_prefix` is '{prefix}', which is no place in the output folder that can be written: "
            "enter a name such as my_motion, or a folder and a name with / between."
        ) from error
    return Path(folder) / f"{name}_{number:05}_.safetensors"
