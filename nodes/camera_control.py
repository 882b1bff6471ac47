"""Let a motion model follow the path of a camera."""

from comfy_api.latest import io

from ..motion_modules.files.adding_adapters import add_camera_file
from ..sampling.camera.condition import follow_path
from .inputs import CATEGORY, CameraPathSocket, MotionModelSocket
from .model_files import ModelFolder

FILES = ModelFolder(
    "animatediff_models", "camera_model", "camera model", "such as CameraCtrl_pruned.safetensors (for AnimateDiff v3)"
)
FROM_MOTION_MODEL = "from the motion model"
STRONGEST = 10.0


class CameraControl(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LoomCameraControl",
            display_name="Camera Control",
            category=CATEGORY,
            description="Lets a motion model follow the path of a camera, by the weights of CameraCtrl.",
            search_aliases=[
                "CameraCtrl",
                "camera control",
                "camera motion",
                "Apply AnimateDiff+CameraCtrl Model",
                "\u955c\u5934\u63a7\u5236",  # Chinese: camera control
            ],
            inputs=[
                MotionModelSocket.Input("motion_model", tooltip="Motion model to control, usually AnimateDiff v3."),
                io.Combo.Input(
                    "camera_model",
                    options=[*FILES.choices, FROM_MOTION_MODEL],
                    tooltip="File of CameraCtrl in models/animatediff_models. The last choice is for a motion model "
                    "that was saved with a camera control.",
                ),
                CameraPathSocket.Input(
                    "camera_path", tooltip="Camera of each frame, from Camera Path. At least as long as the clip."
                ),
                io.Float.Input(
                    "strength",
                    default=1.0,
                    min=0.0,
                    max=STRONGEST,
                    step=0.01,
                    tooltip="How closely the clip follows the path. 1 is as trained, 0 turns it off.",
                ),
            ],
            outputs=[MotionModelSocket.Output(display_name="motion_model")],
        )

    @classmethod
    def validate_inputs(cls, camera_model: str | None = None) -> bool | str:
        """Return the sentence for a file that is not there, where ComfyUI has only "Value not in list"."""
        return camera_model == FROM_MOTION_MODEL or FILES.check(camera_model)

    @classmethod
    def fingerprint_inputs(cls, camera_model: str, strength: float = 1.0) -> str:
        return "" if camera_model == FROM_MOTION_MODEL else FILES.fingerprint(camera_model)

    @classmethod
    def execute(cls, motion_model, camera_model: str, camera_path, strength: float) -> io.NodeOutput:
        if camera_model != FROM_MOTION_MODEL:
            motion_model = add_camera_file(motion_model, FILES.find(camera_model))
        return io.NodeOutput(follow_path(motion_model, camera_path, strength))
