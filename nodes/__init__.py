"""Nodes of the pack, one file per subject."""

from .apply_motion_model import ApplyMotionModel
from .camera_control import CameraControl
from .camera_path import CameraPathNode
from .context_preview import PreviewContextWindows
from .context_windows import ContextWindows
from .frame_denoise import FrameDenoise
from .free_init import FreeInit
from .image_to_video import ImageToVideo
from .load_loom_mini import LoadLoomMini
from .load_motion_model import LoadMotionModel
from .motion_amplifier import MotionAmplifier
from .motion_lora import MotionLoraHookNode, MotionLoraNode
from .motion_model_info import MotionModelInfo
from .motion_strength import MotionStrengthNode
from .new_motion_model import NewMotionModel
from .prompt_schedule import PromptSchedule
from .replace_motion_modules import ReplaceMotionModules
from .sampling_report import AddSamplingReport, ShowSamplingReport
from .save_motion_model import SaveMotionModel
from .sparse_control import ApplySparseControl, LoadSparseControl
from .temporal_guidance import TemporalGuidanceNode
from .train_motion import TrainMotionLora, TrainMotionModel
from .training_clips import TrainingClipsNode
from .video_metrics import VideoMetricsNode
from .video_noise import VideoNoise

NODES = [
    LoadMotionModel,
    MotionLoraNode,
    MotionLoraHookNode,
    MotionStrengthNode,
    ApplyMotionModel,
    ImageToVideo,
    MotionModelInfo,
    PromptSchedule,
    ContextWindows,
    PreviewContextWindows,
    VideoNoise,
    CameraPathNode,
    CameraControl,
    FrameDenoise,
    FreeInit,
    MotionAmplifier,
    TemporalGuidanceNode,
    LoadSparseControl,
    ApplySparseControl,
    AddSamplingReport,
    ShowSamplingReport,
    VideoMetricsNode,
    NewMotionModel,
    ReplaceMotionModules,
    SaveMotionModel,
    TrainingClipsNode,
    TrainMotionLora,
    TrainMotionModel,
    LoadLoomMini,
]
