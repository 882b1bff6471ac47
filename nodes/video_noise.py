"""Set the noise of a clip."""

from dataclasses import replace
from typing import Any

from comfy_api.latest import io

from ..inspection.metrics.measure import estimate_colour_flow
from ..sampling.noise.initial import CAMERA, SEEDED, VIDEO, NoiseSettings, add_video_noise, fit_to_windows
from ..sampling.noise.output import VideoNoiseSource
from ..sampling.noise.paths import PATHS, Camera
from ..sampling.noise.video_flow import estimate_by_model, measure_flows
from .inputs import CATEGORY, CameraPathSocket, context_length, context_overlap

INDEPENDENT, LIKE_INITIAL = "independent", "like initial noise"
MAX_START = 2**31


class VideoNoise(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LoomVideoNoise",
            display_name="Video Noise",
            category=CATEGORY,
            description="Sets the initial noise of a clip. FreeNoise reuses one window's noise, so long clips stay "
            "consistent. camera and video move the noise, and the picture follows.",
            search_aliases=[
                "FreeNoise",
                "noise type",
                "Sample Settings",
                "consistent noise",
                "warped noise",
                "Go-with-the-Flow",
                "PYoCo",
                "pan",
                "zoom",
                "ancestral noise",
            ],
            inputs=[
                io.Model.Input("model", tooltip="Model to sample with this noise."),
                io.DynamicCombo.Input(
                    "noise_type",
                    options=_list_noise_types(),
                    tooltip="How the noise of the frames is related. FreeNoise suits long clips in context windows.",
                ),
                io.Float.Input(
                    "fresh_noise",
                    default=0.0,
                    min=0.0,
                    max=1.0,
                    step=0.01,
                    optional=True,
                    tooltip="Share of independent noise in every frame, mixed so that the variance stays the same. 1 "
                    "is ordinary noise.",
                ),
                io.Combo.Input(
                    "step_noise",
                    options=[INDEPENDENT, LIKE_INITIAL],
                    default=INDEPENDENT,
                    optional=True,
                    tooltip="Noise that ancestral, SDE and LCM samplers add after each step. Other samplers add none.",
                ),
                io.Noise.Input(
                    "noise",
                    optional=True,
                    tooltip="Seed for the noise output, from RandomNoise. Not needed for the model output.",
                ),
            ],
            outputs=[
                io.Model.Output(display_name="model"),
                io.Noise.Output(display_name="noise"),
            ],
        )

    @classmethod
    def execute(
        cls, model, noise_type: dict, fresh_noise: float = 0.0, step_noise: str = INDEPENDENT, noise=None
    ) -> io.NodeOutput:
        settings = _read_settings(model, noise_type, fresh_noise, step_noise == LIKE_INITIAL)
        source = VideoNoiseSource(noise, fit_to_windows(settings, model.model_options))
        return io.NodeOutput(add_video_noise(model, settings), source)


def _list_noise_types() -> list[io.DynamicCombo.Option]:
    replaced = "Context windows on the model replace this value."
    return [
        io.DynamicCombo.Option(
            "FreeNoise",
            [
                context_length(f"Frames per context window. {replaced}"),
                context_overlap(f"Frames shared by neighbouring windows. {replaced}"),
            ],
        ),
        io.DynamicCombo.Option(
            "repeated",
            [context_length("Number of noise frames to repeat, usually the length of a window.")],
        ),
        io.DynamicCombo.Option("same", []),
        io.DynamicCombo.Option(SEEDED, [_start_frame()]),
        io.DynamicCombo.Option("stream per frame", [_start_frame()]),
        io.DynamicCombo.Option(CAMERA, _camera_inputs()),
        io.DynamicCombo.Option(
            VIDEO,
            [
                io.Image.Input(
                    "images", tooltip="Frames of a video that the noise moves with, at least as many as the clip has."
                ),
                io.Custom("OPTICAL_FLOW").Input(
                    "optical_flow",
                    optional=True,
                    tooltip="Model that measures the motion, from Load Optical Flow Model. Without one, the simpler "
                    "method of Video Metrics does.",
                ),
            ],
        ),
    ]


def _start_frame() -> io.Int.Input:
    return io.Int.Input(
        "start_frame",
        default=0,
        min=0,
        max=MAX_START,
        tooltip="Number of the first frame, for a clip that continues another one.",
    )


def _camera_inputs() -> list[io.Input]:
    return [
        _amount("pan_x", 256.0, "Pixels that the picture moves to the right per frame. Negative moves it to the left."),
        _amount("pan_y", 256.0, "Pixels that the picture moves down per frame. Negative moves it up."),
        io.Float.Input(
            "zoom",
            default=1.0,
            min=0.5,
            max=2.0,
            step=0.001,
            tooltip="Size of the picture relative to the frame before. 1.02 zooms in by 2 % per frame, 0.98 zooms out.",
        ),
        _amount("roll", 180.0, "Degrees that the picture turns clockwise per frame. Negative turns it the other way."),
        io.Combo.Input(
            "path",
            options=list(PATHS),
            tooltip="straight keeps moving. there and back returns after half of the clip, for a video that loops.",
        ),
        CameraPathSocket.Input(
            "camera_path",
            optional=True,
            tooltip="Moves that change over the clip, from Camera Path. They replace the amounts above.",
        ),
    ]


def _amount(name: str, limit: float, tooltip: str) -> io.Float.Input:
    return io.Float.Input(name, default=0.0, min=-limit, max=limit, step=0.01, tooltip=tooltip)


def _read_settings(model, values: dict[str, Any], fresh: float, in_steps: bool) -> NoiseSettings:
    kind = values["noise_type"]
    settings = NoiseSettings(
        kind, values.get("context_length", 1), values.get("context_overlap", 0), fresh_noise=fresh, in_steps=in_steps
    )
    if kind == CAMERA:
        return replace(settings, camera=_read_camera(model, **values), camera_path=values.get("camera_path"))
    if kind == VIDEO:
        return replace(settings, flows=_measure_video(**values))
    return replace(settings, start=values.get("start_frame", 0))


def _read_camera(model, pan_x: float, pan_y: float, zoom: float, roll: float, path: str, **_) -> Camera:
    """Return the camera in latent pixels, from a pan in pixels of the video."""
    pixels = model.get_model_object("latent_format").spacial_downscale_ratio
    return Camera(pan_x / pixels, pan_y / pixels, zoom, roll, path)


def _measure_video(images, optical_flow=None, **_):
    return measure_flows(images, estimate_colour_flow if optical_flow is None else estimate_by_model(optical_flow))
