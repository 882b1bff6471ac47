"""Change a motion model by a motion LoRA, as a whole or by hooks of prompts."""

from comfy_api.latest import io

from ..motion_modules.files.motion_lora import add_motion_lora, load_motion_lora
from ..motion_modules.files.motion_lora_hook import create_motion_lora_hook
from .inputs import CATEGORY, MotionModelSocket, MotionStrengthSocket
from .model_files import ModelFolder

FILES = ModelFolder("animatediff_motion_lora", "motion_lora", "motion LoRA", "such as v2_lora_ZoomIn.ckpt (v2)")
STRONGEST = 10.0


def _file() -> io.Combo.Input:
    return io.Combo.Input(
        "motion_lora",
        options=FILES.choices,
        tooltip="File in models/animatediff_motion_lora. It must be made for this motion model: the published camera "
        "LoRAs are for AnimateDiff v2.",
    )


def _strength() -> io.Float.Input:
    return io.Float.Input(
        "strength",
        default=1.0,
        min=-STRONGEST,
        max=STRONGEST,
        step=0.01,
        tooltip="Strength of the LoRA. 1 is as trained, 0 turns it off, and negative values reverse it.",
    )


class MotionLoraNode(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LoomMotionLora",
            display_name="Motion LoRA",
            category=CATEGORY,
            description="Adds a motion LoRA to a motion model: a camera move or a motion that was trained for it. "
            "Several in a row add up.",
            search_aliases=["Load AnimateDiff LoRA", "camera motion", "MotionDirector", "zoom", "pan"],
            inputs=[
                MotionModelSocket.Input("motion_model", tooltip="Motion model to change, from Load Motion Model."),
                _file(),
                _strength(),
                MotionStrengthSocket.Input(
                    "motion_strength",
                    optional=True,
                    tooltip="Strength that varies over frames, sampling, places or blocks, from Motion Strength. It "
                    "multiplies strength. Steps take somewhat longer, except where only blocks differ.",
                ),
            ],
            outputs=[MotionModelSocket.Output(display_name="motion_model")],
        )

    @classmethod
    def validate_inputs(cls, motion_lora: str | None = None) -> bool | str:
        """Return the sentence for a file that is not there, where ComfyUI has only "Value not in list"."""
        return FILES.check(motion_lora)

    @classmethod
    def fingerprint_inputs(cls, motion_lora: str, strength: float = 1.0, motion_strength=None) -> str:
        return FILES.fingerprint(motion_lora)

    @classmethod
    def execute(cls, motion_model, motion_lora: str, strength: float = 1.0, motion_strength=None) -> io.NodeOutput:
        lora = load_motion_lora(FILES.find(motion_lora))
        return io.NodeOutput(add_motion_lora(motion_model, lora, strength, motion_strength))


class MotionLoraHookNode(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LoomMotionLoraHook",
            display_name="Motion LoRA Hook",
            category=CATEGORY,
            description="Creates a hook with a motion LoRA, for some prompts or some steps. ComfyUI's hook nodes "
            "schedule it, and connect it to a prompt with or without a mask.",
            search_aliases=["Create Hook Motion LoRA", "scheduled motion LoRA", "masked motion", "Set Hook Keyframes"],
            inputs=[
                _file(),
                _strength(),
                io.Hooks.Input(
                    "prev_hooks", optional=True, tooltip="Hooks to add this one to, also LoRAs of Create Hook LoRA."
                ),
            ],
            outputs=[io.Hooks.Output(display_name="hooks")],
        )

    @classmethod
    def validate_inputs(cls, motion_lora: str | None = None) -> bool | str:
        """Return the sentence for a file that is not there, where ComfyUI has only "Value not in list"."""
        return FILES.check(motion_lora)

    @classmethod
    def fingerprint_inputs(cls, motion_lora: str, strength: float = 1.0, prev_hooks=None) -> str:
        return FILES.fingerprint(motion_lora)

    @classmethod
    def execute(cls, motion_lora: str, strength: float = 1.0, prev_hooks=None) -> io.NodeOutput:
        hooks = create_motion_lora_hook(load_motion_lora(FILES.find(motion_lora)), strength)
        return io.NodeOutput(prev_hooks.clone_and_combine(hooks) if prev_hooks else hooks)
