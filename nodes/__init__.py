"""The pack's nodes, a file per subject."""

from .motion_model import ApplyMotionModel, LoadMotionModel, MotionModelInfo

NODES = [LoadMotionModel, ApplyMotionModel, MotionModelInfo]
