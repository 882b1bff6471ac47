"""Describe the path of a camera over a clip."""

from comfy_api.latest import io, ui

from ..inspection.camera.picture import draw
from ..sampling.camera.keyframes import follow_keyframes
from ..sampling.camera.pose_text import read_poses, write_poses
from ..sampling.camera.poses import CameraPath
from ..sampling.prompts.schedule import EASINGS
from .inputs import CATEGORY, CameraPathSocket, clip_frames

KEYFRAMES, POSES = "keyframes", "poses"
EXAMPLE = "0: pan 0, dolly 0\n100%: pan 15, dolly 0.5"


class CameraPathNode(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LoomCameraPath",
            display_name="Camera Path",
            category=CATEGORY,
            description="Describes how the camera of a clip moves, for Video Noise and for motion models with camera "
            "control, and draws the path.",
            search_aliases=[
                "CameraCtrl",
                "MotionCtrl",
                "camera poses",
                "camera motion",
                "pan",
                "tilt",
                "zoom",
                "orbit",
                "dolly",
                "RealEstate10K",
                "\u955c\u5934\u8fd0\u52a8",  # Chinese: camera movement
            ],
            is_output_node=True,
            inputs=[
                io.DynamicCombo.Input(
                    "path",
                    options=[
                        io.DynamicCombo.Option(KEYFRAMES, [_keyframes(), _easing()]),
                        io.DynamicCombo.Option(POSES, [_poses()]),
                    ],
                    tooltip="keyframes describes moves in words. poses reads a pose file of CameraCtrl.",
                ),
                clip_frames(
                    default=16,
                    tooltip="Length of the path, at least the batch_size of the clip's latent. A longer path is cut to "
                    "the clip.",
                ),
                io.Float.Input(
                    "distance",
                    default=2.0,
                    min=0.01,
                    max=1000.0,
                    step=0.01,
                    tooltip="Distance of the subject from the first camera. orbit goes around it, and a dolly of half "
                    "of it makes the subject twice as large.",
                ),
            ],
            outputs=[
                CameraPathSocket.Output(display_name="camera_path"),
                io.Image.Output(display_name="image"),
                io.String.Output(display_name="poses"),
            ],
        )

    @classmethod
    def execute(cls, path: dict, frames: int, distance: float) -> io.NodeOutput:
        camera_path = _read_path(path, frames, distance)
        image = draw(camera_path)
        return io.NodeOutput(camera_path, image, write_poses(camera_path), ui=ui.PreviewImage(image, cls=cls))


def _read_path(path: dict, frames: int, distance: float) -> CameraPath:
    if path["path"] == POSES:
        return read_poses(path["poses"], frames, distance)
    return follow_keyframes(path["keyframes"], frames, path["easing"], distance)


def _keyframes() -> io.String.Input:
    return io.String.Input(
        "keyframes",
        multiline=True,
        default=EXAMPLE,
        tooltip="One keyframe per line, as 'frame: move value, move value'. '50%:' is the middle of the clip. Moves: "
        "pan, tilt, roll and orbit in degrees, dolly, truck and pedestal as distances, and zoom as a factor.",
    )


def _easing() -> io.Combo.Input:
    return io.Combo.Input(
        "easing",
        options=list(EASINGS),
        default="linear",
        tooltip="Pace from one keyframe to the next, where the text names none after a value.",
    )


def _poses() -> io.String.Input:
    return io.String.Input(
        "poses",
        multiline=True,
        default="",
        tooltip="Text of a pose file: a heading, then one line of 19 numbers per frame. Paste it, or connect a text.",
    )
