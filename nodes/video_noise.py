"""The noise that a clip begins with."""

from comfy_api.latest import io

from ..sampling.noise.initial import NoiseSettings, add_video_noise
from .context_windows import LONGEST
from .motion_model import CATEGORY


def _length(tooltip: str) -> io.Int.Input:
    return io.Int.Input("context_length", default=16, min=1, max=LONGEST, tooltip=tooltip)


class VideoNoise(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LoomVideoNoise",
            display_name="Video Noise",
            category=CATEGORY,
            description="Another noise for all frames to begin with than one drawn anew for each: FreeNoise keeps a "
            "long clip of many context windows together.",
            search_aliases=["FreeNoise", "noise type", "Sample Settings", "consistent noise"],
            inputs=[
                io.Model.Input("model", tooltip="The model to sample with such noise."),
                io.DynamicCombo.Input(
                    "noise_type",
                    options=[
                        io.DynamicCombo.Option(
                            "FreeNoise",
                            [
                                _length("Frames in a context window; the same as in Context Windows."),
                                io.Int.Input(
                                    "context_overlap",
                                    default=4,
                                    min=0,
                                    max=LONGEST - 1,
                                    tooltip="Frames that two windows share; the same as in Context Windows.",
                                ),
                            ],
                        ),
                        io.DynamicCombo.Option("repeated", [_length("So many frames of noise, again and again.")]),
                        io.DynamicCombo.Option("same", []),
                    ],
                    tooltip="FreeNoise: behind the first window, frames of its noise in shuffled order. repeated: the "
                    "first frames of noise again and again. same: one noise for all frames, close to a still.",
                ),
            ],
            outputs=[io.Model.Output(display_name="model")],
        )

    @classmethod
    def execute(cls, model, noise_type: dict) -> io.NodeOutput:
        length, overlap = noise_type.get("context_length", 1), noise_type.get("context_overlap", 0)
        return io.NodeOutput(add_video_noise(model, NoiseSettings(noise_type["noise_type"], length, overlap)))
