"""Load SparseCtrl, and apply it to prompts."""

from typing import Any

from comfy_api.latest import io

from ..sampling.sparse_control.control import ControlSettings, add_sparse_control, load_sparse_control
from ..sampling.sparse_control.places import SPREADS, PicturePlaces, parse_frame_numbers
from .inputs import CATEGORY, SparseControlSocket
from .model_files import ModelFolder

FILES = ModelFolder("controlnet", "sparse_control", "SparseCtrl", "such as v3_sd15_sparsectrl_rgb.ckpt")
FRAME_NUMBERS, SPREAD = "frame numbers", "spread"
NEAREST, NONE = "nearest picture", "no picture"
STRONGEST = 10.0


class LoadSparseControl(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LoomLoadSparseControl",
            display_name="Load SparseCtrl",
            category=CATEGORY,
            description="Loads SparseCtrl: a ControlNet with motion modules that lets a few pictures or sketches guide "
            "a whole clip.",
            search_aliases=[
                "SparseCtrl",
                "sparse control",
                "Load SparseCtrl Model",
                "image to video",
                "first frame",
                "last frame",
                "scribble",
                "\u56fe\u751f\u89c6\u9891",  # Chinese: image to video
                "\u7a00\u758f\u63a7\u5236",  # Chinese: sparse control
            ],
            inputs=[
                io.Combo.Input(
                    "sparse_control",
                    options=FILES.choices,
                    tooltip="SparseCtrl file in models/controlnet, of the rgb or the scribble kind. Ordinary "
                    "ControlNets in the same folder are refused.",
                ),
            ],
            outputs=[SparseControlSocket.Output(display_name="sparse_control")],
        )

    @classmethod
    def validate_inputs(cls, sparse_control: str | None = None) -> bool | str:
        """Return the sentence for a file that is not there, where ComfyUI has only "Value not in list"."""
        return FILES.check(sparse_control)

    @classmethod
    def fingerprint_inputs(cls, sparse_control: str) -> str:
        return FILES.fingerprint(sparse_control)

    @classmethod
    def execute(cls, sparse_control: str) -> io.NodeOutput:
        return io.NodeOutput(load_sparse_control(FILES.find(sparse_control)))


class ApplySparseControl(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LoomApplySparseControl",
            display_name="Apply SparseCtrl",
            category=CATEGORY,
            description="Guides a clip with pictures or sketches at some of its frames: the first one, the first and "
            "the last, or any others.",
            search_aliases=["SparseCtrl", "first frame", "last frame", "key frames", "sketch to video", "interpolate"],
            inputs=[
                io.Conditioning.Input("positive", tooltip="Prompt for the clip. Its ControlNets stay."),
                io.Conditioning.Input("negative", tooltip="Negative prompt. Its ControlNets stay."),
                SparseControlSocket.Input("sparse_control", tooltip="SparseCtrl from Load SparseCtrl."),
                io.Image.Input(
                    "images",
                    tooltip="Pictures for the rgb kind; white lines on black for the scribble kind. Other sizes are "
                    "cropped around the centre and resized.",
                ),
                _placement(),
                io.Float.Input(
                    "strength",
                    default=1.0,
                    min=0.0,
                    max=STRONGEST,
                    step=0.01,
                    tooltip="Strength of the guidance. 1 is as trained, 0 turns it off.",
                ),
                _percent("start_percent", 0.0, "Point in sampling at which the guidance starts (0 = start)."),
                _percent("end_percent", 1.0, "Point in sampling at which the guidance ends (1 = end)."),
                io.Vae.Input(
                    "vae", optional=True, tooltip="VAE of the checkpoint. The rgb kind needs it, scribble does not."
                ),
                io.Combo.Input(
                    "empty_windows",
                    options=[NEAREST, NONE],
                    default=NEAREST,
                    optional=True,
                    advanced=True,
                    tooltip="Guidance of context windows that contain none of the pictures. nearest picture puts the "
                    "nearest one at the closest end of the window.",
                ),
            ],
            outputs=[
                io.Conditioning.Output(display_name="positive"),
                io.Conditioning.Output(display_name="negative"),
            ],
        )

    @classmethod
    def execute(
        cls,
        positive,
        negative,
        sparse_control,
        images,
        placement: dict[str, Any],
        strength: float,
        start_percent: float,
        end_percent: float,
        vae=None,
        empty_windows: str = NEAREST,
    ) -> io.NodeOutput:
        settings = ControlSettings(strength, start_percent, end_percent)
        if strength == 0:
            return io.NodeOutput(positive, negative)
        places = _read_places(placement, len(images), empty_windows == NEAREST)
        control = sparse_control.place_pictures(images, places, settings, vae)
        return io.NodeOutput(*add_sparse_control(control, (positive, negative)))


def _placement() -> io.DynamicCombo.Input:
    return io.DynamicCombo.Input(
        "placement",
        options=[
            io.DynamicCombo.Option(
                FRAME_NUMBERS,
                [
                    io.String.Input(
                        "frame_numbers",
                        default="0",
                        tooltip="Frame of each picture, such as 0, 8, -1. 0 is the first frame, -1 the last.",
                    )
                ],
            ),
            io.DynamicCombo.Option(
                SPREAD,
                [
                    io.Combo.Input(
                        "spread",
                        options=list(SPREADS),
                        tooltip="uniform reaches from the first frame to the last. starting leaves out the last "
                        "frame, ending the first one, and centre both.",
                    )
                ],
            ),
        ],
        tooltip="Frames at which the pictures stand: listed, or spread over the clip at equal distances.",
    )


def _percent(name: str, default: float, tooltip: str) -> io.Float.Input:
    return io.Float.Input(name, default=default, min=0.0, max=1.0, step=0.001, tooltip=tooltip)


def _read_places(placement: dict[str, Any], pictures: int, reaches_windows: bool) -> PicturePlaces:
    if placement["placement"] == FRAME_NUMBERS:
        frames = parse_frame_numbers(placement["frame_numbers"])
        return PicturePlaces(pictures, frames, reaches_windows=reaches_windows)
    return PicturePlaces(pictures, spread=placement["spread"], reaches_windows=reaches_windows)
