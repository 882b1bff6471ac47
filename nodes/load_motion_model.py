"""Load a motion model from a file."""

from comfy_api.latest import io

from ..motion_modules.architectures.registry import architectures, log_refused
from ..motion_modules.families import AUTO, FAMILIES
from ..motion_modules.files.loading import load_motion_model
from .inputs import CATEGORY, MotionModelSocket, describe_refused
from .model_files import ModelFolder

FILES = ModelFolder(
    "animatediff_models",
    "motion_model",
    "motion model",
    "such as mm_sd15_v3.safetensors (SD1.5) or mm_sdxl_v10_beta.ckpt (SDXL)",
)


class LoadMotionModel(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        refused = describe_refused(log_refused(architectures()))
        return io.Schema(
            node_id="LoomLoadMotionModel",
            display_name="Load Motion Model (AnimateDiff)",
            category=CATEGORY,
            description="Loads an AnimateDiff or Hotshot-XL motion model: layers trained on video that make the frames "
            "of a batch move as one clip.",
            search_aliases=[
                "AnimateDiff",
                "ADE",
                "AnimateDiff Evolved",
                "AnimateDiff loader",
                "Load AnimateDiff Model",
                "motion module",
                "mm_sd",
                "Hotshot-XL",
                "AnimateDiff Lightning",
                "AnimateLCM",
                "LongAnimateDiff",
                "\u52a8\u753b",  # Chinese: animation
                "\u6587\u751f\u89c6\u9891",  # Chinese: text to video
                "\u8fd0\u52a8\u6a21\u578b",  # Chinese: motion model
                "\u8fd0\u52a8\u6a21\u5757",  # Chinese: motion module
            ],
            inputs=[
                io.Combo.Input(
                    "motion_model",
                    options=FILES.choices,
                    tooltip=f"File in models/animatediff_models (.safetensors, .ckpt, .pt or .pth).{refused}",
                ),
                io.Combo.Input(
                    "family",
                    options=list(dict.fromkeys([AUTO, *(family.name for family in FAMILIES)])),
                    default=AUTO,
                    optional=True,
                    advanced=True,
                    tooltip="Family of the motion model. auto recognises it from the contents of the file. Lightning "
                    "files have the structure of AnimateDiff v2; selecting Lightning only adds its sampler advice.",
                ),
            ],
            outputs=[MotionModelSocket.Output(display_name="motion_model", tooltip=refused.strip())],
        )

    @classmethod
    def validate_inputs(cls, motion_model: str | None = None) -> bool | str:
        """Return the sentence for a file that is not there, where ComfyUI has only "Value not in list"."""
        return FILES.check(motion_model)

    @classmethod
    def fingerprint_inputs(cls, motion_model: str, family: str = AUTO) -> str:
        return FILES.fingerprint(motion_model)

    @classmethod
    def execute(cls, motion_model: str, family: str = AUTO) -> io.NodeOutput:
        return io.NodeOutput(load_motion_model(FILES.find(motion_model), family))
