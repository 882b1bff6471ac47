"""The pack's nodes, a file per subject."""

from .build_motion_model import NewMotionModel, ReplaceMotionModules, SaveMotionModel
from .context_preview import PreviewContextWindows
from .context_windows import ContextWindows
from .motion_model import ApplyMotionModel, LoadMotionModel, MotionModelInfo
from .prompt_schedule import PromptSchedule
from .sampling_report import ShowReport, WatchSampling
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
