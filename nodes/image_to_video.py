"""Make a clip from pictures."""

from comfy_api.latest import io

from ..motion_modules.adapters.lcm_i2v import DEFAULT_DRIFT
from ..sampling.image_to_video.affinity import CURVE, CURVE_INPUT, TABLES
from ..sampling.image_to_video.insertion import DEFAULT_WEIGHTS, DRIFT_INPUT, WEIGHTS_INPUT
from ..sampling.image_to_video.methods import (
    AUTO,
    DEFAULT_MOTION,
    DEFAULT_REACH,
    LCM_I2V,
    MOTION,
    NOISED,
    PIA,
    REACH,
    START,
    animate_pictures,
)
from ..sampling.image_to_video.pictures import FRAMES_INPUT, PlacedPicture, encode_pictures, place_batch
from ..sampling.prompts.schedule import MAX_FRAMES
from ..sampling.running_prompt import find_running_prompt
from .inputs import CATEGORY, MAX_SIDE


def _methods() -> io.DynamicCombo.Input:
    motion = io.Combo.Input(
        MOTION,
        options=[*TABLES, CURVE],
        default=DEFAULT_MOTION,
        tooltip="How far the clip moves away from the picture. loop returns to it, style is for pictures in another "
        "style than the checkpoint.",
    )
    curve = io.String.Input(
        CURVE_INPUT,
        default="0: 1.0, 8: 0.8",
        tooltip="With the motion curve: likeness to the picture over the frames of the clip, 0 to 1, as 'frame: value' "
        "or 'percent%: value', separated by commas.",
    )
    start = io.Boolean.Input(
        START,
        default=False,
        tooltip="Start from the noised picture instead of noise alone. Use it with a denoise below 1.",
    )
    drift = io.Float.Input(
        DRIFT_INPUT,
        default=DEFAULT_DRIFT,
        min=0.0,
        max=2.0,
        step=0.01,
        tooltip="How far the frames may move away from the picture. Less keeps it better.",
    )
    weights = io.String.Input(
        WEIGHTS_INPUT,
        default=DEFAULT_WEIGHTS,
        tooltip="Weight of the picture in the down blocks of the UNet: one number for all, or four, as "
        "'1, 1, 0.5, 0.5'.",
    )
    reach = io.Int.Input(
        REACH,
        default=DEFAULT_REACH,
        min=1,
        max=1024,
        tooltip="Frames over which the hold of a picture fades out. 1 holds its own frame only.",
    )
    return io.DynamicCombo.Input(
        "method",
        options=[
            io.DynamicCombo.Option(AUTO, []),
            io.DynamicCombo.Option(PIA, [motion, curve, start]),
            io.DynamicCombo.Option(NOISED, [reach]),
            io.DynamicCombo.Option(LCM_I2V, [drift, weights]),
        ],
        tooltip="How the motion model gets the pictures. auto selects what it was trained for. noised latents works "
        "with every motion model.",
    )


def _size(name: str, tooltip: str) -> io.Int.Input:
    return io.Int.Input(name, default=512, min=16, max=MAX_SIDE, step=8, tooltip=tooltip)


def _strength(name: str, image: str) -> io.Float.Input:
    return io.Float.Input(
        name,
        default=1.0,
        min=0.0,
        max=1.0,
        step=0.01,
        optional=True,
        tooltip=f"How much the clip follows {image}. 1 follows it fully, 0 ignores it.",
    )


class ImageToVideo(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LoomImageToVideo",
            display_name="Image To Video",
            category=CATEGORY,
            description="Makes a clip from a first or last picture, or from pictures for any frames, by what the "
            "motion model was trained for.",
            search_aliases=[
                "PIA",
                "Apply AnimateDiff-PIA Model",
                "AnimateLCM-I2V",
                "Apply AnimateLCM-I2V Model",
                "img2vid",
                "i2v",
                "first frame last frame",
                "start image end image",
                "animate a picture",
                "\u56fe\u751f\u89c6\u9891",  # Chinese: image to video
                "\u9996\u5c3e\u5e27",  # Chinese: first and last frame
            ],
            inputs=[
                io.Model.Input("model", tooltip="Model after Apply Motion Model."),
                io.Vae.Input("vae", tooltip="VAE of the checkpoint, which encodes the pictures."),
                _size(
                    "width",
                    "Width of the clip in pixels. Pictures are scaled to cover it and cropped around their centre.",
                ),
                _size("height", "Height of the clip in pixels."),
                io.Int.Input(
                    "length",
                    default=16,
                    min=2,
                    max=MAX_FRAMES,
                    tooltip="Number of frames of the clip. 16 suits most motion models.",
                ),
                _methods(),
                io.Image.Input("start_image", optional=True, tooltip="Picture for the first frame."),
                _strength("start_strength", "start_image"),
                io.Image.Input("end_image", optional=True, tooltip="Picture for the last frame."),
                _strength("end_strength", "end_image"),
                io.Image.Input("images", optional=True, tooltip="Batch of pictures for the frames in image_frames."),
                io.String.Input(
                    FRAMES_INPUT,
                    default="",
                    optional=True,
                    tooltip="Frames for images, separated by commas, with a strength after a colon where it is not 1: "
                    "'0, 8: 0.5, 100%'. Frames count from 0. Empty spreads the pictures evenly.",
                ),
            ],
            outputs=[io.Model.Output(display_name="model"), io.Latent.Output(display_name="latent")],
        )

    @classmethod
    def execute(
        cls,
        model,
        vae,
        width: int,
        height: int,
        length: int,
        method: dict,
        start_image=None,
        start_strength: float = 1.0,
        end_image=None,
        end_strength: float = 1.0,
        images=None,
        image_frames: str = "",
    ) -> io.NodeOutput:
        pictures = [] if images is None else place_batch(images, image_frames, length)
        if start_image is not None:
            pictures.append(PlacedPicture("start_strength", start_image[0], 0, start_strength))
        if end_image is not None:
            pictures.append(PlacedPicture("end_strength", end_image[-1], length - 1, end_strength))
        clip_pictures = encode_pictures(model, vae, pictures, length, width, height)
        animation = animate_pictures(model, clip_pictures, method)
        if prompt := find_running_prompt():
            prompt.show_here(animation.summary)
        return io.NodeOutput(animation.model, animation.latent)
