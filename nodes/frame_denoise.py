"""Give each frame of a video its own denoise strength."""

from comfy_api.latest import io

from ..sampling.noise.frame_denoise import mask_frames
from ..sampling.steering.curves import read_frame_curve
from .inputs import CATEGORY


class FrameDenoise(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LoomFrameDenoise",
            display_name="Denoise per Frame",
            category=CATEGORY,
            description="Gives each frame of a latent its own denoise strength, for a video that changes gradually. "
            "Needs Differential Diffusion on the model.",
            search_aliases=[
                "per-frame denoise",
                "noise mask per frame",
                "latent keyframe",
                "\u9010\u5e27\u964d\u566a",  # Chinese: denoise per frame
            ],
            inputs=[
                io.Latent.Input("latent", tooltip="Latent of the video, such as that of VAE Encode."),
                io.String.Input(
                    "frame_curve",
                    default="0: 0.2, 100%: 0.8",
                    multiline=True,
                    tooltip="Strength over the frames, as position: value. 0 keeps a frame, 1 denoises it in all steps "
                    "of the sampler. Positions are frame numbers or percentages of the clip.",
                ),
            ],
            outputs=[io.Latent.Output(display_name="latent")],
        )

    @classmethod
    def execute(cls, latent: dict, frame_curve: str) -> io.NodeOutput:
        return io.NodeOutput(mask_frames(latent, read_frame_curve(frame_curve, "frame_curve")))
