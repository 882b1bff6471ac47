"""A camera path as the input of a motion model with camera control."""

from dataclasses import dataclass, replace

import torch

from ...motion_modules.errors import LoomError, require_finite
from ...motion_modules.motion_model import MotionModel
from .poses import CameraPath, check_length
from .rays import cast_rays


@dataclass(frozen=True, eq=False)
class CameraCondition:
    """The path of a camera, and the strength with which a clip follows it."""

    path: CameraPath
    strength: float = 1.0

    def check_clip(self, frames: int, height: int, width: int) -> None:
        check_length(self.path, frames)

    def cast_rays(self, first: int, last: int, width: int, height: int) -> torch.Tensor:
        """Return the rays of frames `first` to `last` - 1, relative to the first frame of the clip."""
        return cast_rays(self.path, first, last, width, height)


def follow_path(motion_model: MotionModel, path: CameraPath, strength: float) -> MotionModel:
    """Return `motion_model`, which must have a camera control, with the path that its clips follow."""
    condition = CameraCondition(path, strength)
    require_finite(condition)
    keys = [each.adapter.key for each in motion_model.adapters if each.adapter.has_own_files]
    if not keys:
        raise LoomError(
            f"Motion model '{motion_model.name}' has no camera control. Choose a file of CameraCtrl as `camera_model`."
        )
    return replace(motion_model, conditions={**motion_model.conditions, **dict.fromkeys(keys, condition)})
