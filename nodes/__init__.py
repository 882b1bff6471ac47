"""Nodes of the pack, one file per subject."""

from .apply_motion_model import ApplyMotionModel
from .context_preview import PreviewContextWindows
from .context_windows import ContextWindows
from .load_motion_model import LoadMotionModel
from .motion_model_info import MotionModelInfo
from .new_motion_model import NewMotionModel
from .prompt_schedule import PromptSchedule
from .replace_motion_modules import ReplaceMotionModules
from .sampling_report import ShowReport, WatchSampling
from .save_motion_model import SaveMotionModel
from .video_metrics import MeasureVideo
from .video_noise import VideoNoise

NODES = [
    LoadMotionModel,
    ApplyMotionModel,
    MotionModelInfo,
    PromptSchedule,
    ContextWindows,
    PreviewContextWindows,
    VideoNoise,
    WatchSampling,
    ShowReport,
    MeasureVideo,
    NewMotionModel,
    ReplaceMotionModules,
    SaveMotionModel,
]
