"""Set the initial noise of a clip."""

from comfy_api.latest import io

from ..sampling.noise.initial import NoiseSettings, add_video_noise
from .inputs import CATEGORY, context_length, context_overlap


class VideoNoise(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LoomVideoNoise",
            display_name="Video Noise",
            category=CATEGORY,
            description="Sets the initial noise of a clip. FreeNoise reuses one window's noise, so long clips stay "
            "consistent.",
            search_aliases=[
                "FreeNoise",
                "noise type",
                "Sample Settings",
                "consistent noise",
            ],
            inputs=[
                io.Model.Input("model", tooltip="Model to sample with this noise."),
                io.DynamicCombo.Input(
                    "noise_type",
                    options=[
                        io.DynamicCombo.Option(
                            "FreeNoise",
                            [
                                context_length(
                                    "Frames per context window. Context windows on the model replace this value."
                                ),
                                context_overlap(
                                    "Frames shared by neighbouring windows. Context windows on the model replace this "
                                    "value."
                                ),
                            ],
                        ),
                        io.DynamicCombo.Option(
                            "repeated",
                            [context_length("Number of noise frames to repeat, usually the length of a window.")],
                        ),
                        io.DynamicCombo.Option("same", []),
                    ],
                    tooltip="How the noise of the frames is related. FreeNoise suits long clips in context windows.",
                ),
            ],
            outputs=[io.Model.Output(display_name="model")],
        )

    @classmethod
    def execute(cls, model, noise_type: dict) -> io.NodeOutput:
        length, overlap = noise_type.get("context_length", 1), noise_type.get("context_overlap", 0)
        return io.NodeOutput(add_video_noise(model, NoiseSettings(noise_type["noise_type"], length, overlap)))
