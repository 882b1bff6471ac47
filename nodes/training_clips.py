"""Prepare clips for training."""

from pathlib import Path
from typing import Any

import folder_paths
from comfy_api.latest import io, ui

from ..inspection.figures.contact_sheet import draw_contact_sheet
from ..motion_modules.errors import LoomError
from ..training.clip_folder import FrameSettings
from ..training.gathering import gather_folder, gather_images, gather_latents, join_clips
from .inputs import CATEGORY, MAX_WINDOW, TrainingClipsSocket

FOLDER, IMAGES, LATENTS = "folder", "images", "latents"
NO_FOLDER = "(no folder in input)"
LARGEST_STEP, LARGEST_SIZE = 64, 4096


class TrainingClipsNode(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LoomTrainingClips",
            display_name="Training Clips",
            category=CATEGORY,
            description="Prepares clips and captions for training: checks all of them, encodes each one once, and "
            "shows a contact sheet.",
            search_aliases=["dataset", "training data", "MotionDirector", "load videos from folder", "captions"],
            inputs=[
                io.Clip.Input("clip", tooltip="Text encoder of the model to train on, for the captions."),
                io.DynamicCombo.Input(
                    "source",
                    options=[
                        io.DynamicCombo.Option(FOLDER, _folder_inputs()),
                        io.DynamicCombo.Option(IMAGES, [_images(), _vae()]),
                        io.DynamicCombo.Option(LATENTS, [_latents()]),
                    ],
                    tooltip="Where the clips come from: a folder of videos in ComfyUI's input folder, pictures, or "
                    "latents.",
                ),
                io.Int.Input(
                    "clip_length",
                    default=16,
                    min=2,
                    max=MAX_WINDOW,
                    tooltip="Frames of a clip. Use the length that the motion model was trained with, 16 for most.",
                ),
                io.String.Input(
                    "captions",
                    default="",
                    multiline=True,
                    tooltip="One line for all clips, or one line for each. In a folder, a .txt file beside a clip "
                    "comes first.",
                ),
                TrainingClipsSocket.Input(
                    "previous", optional=True, tooltip="Clips of another Training Clips to add these to."
                ),
            ],
            outputs=[
                TrainingClipsSocket.Output(display_name="clips"),
                io.Image.Output(display_name="contact_sheet"),
            ],
        )

    @classmethod
    def fingerprint_inputs(cls, source: dict | None = None, **_: Any) -> str:
        """Return the names and times of the files in the folder, so that changed clips are read again."""
        if not source or source.get("source") != FOLDER or source.get("folder") not in _list_folders():
            return ""
        files = sorted(_find_folder(source["folder"]).rglob("*"))
        return " ".join(f"{file.name} {file.stat().st_mtime_ns} {file.stat().st_size}" for file in files)

    @classmethod
    def execute(cls, clip, source: dict, clip_length: int, captions: str = "", previous=None) -> io.NodeOutput:
        cache = Path(folder_paths.get_temp_directory()) / "loom_latents"
        if source["source"] == FOLDER:
            sizes = (source[name] for name in ("frame_step", "width", "height", "flip"))
            settings, folder = FrameSettings(clip_length, *sizes), _find_folder(source["folder"])
            clips, pictures = gather_folder(folder, settings, captions, clip, source["vae"], cache)
        elif source["source"] == IMAGES:
            clips, pictures = gather_images(source["images"], clip_length, captions, clip, source["vae"], cache)
        else:
            clips, pictures = gather_latents(source["latents"]["samples"], clip_length, captions, clip)
        sheet = draw_contact_sheet([(each.name, each.caption) for each in clips.clips], pictures)
        return io.NodeOutput(join_clips(previous, clips), sheet, ui=ui.PreviewImage(sheet, cls=cls))


def _folder_inputs() -> list[io.Input]:
    return [
        io.Combo.Input(
            "folder",
            options=_list_folders() or [NO_FOLDER],
            tooltip="Folder in ComfyUI's input folder with videos, or with one subfolder of pictures for each clip.",
        ),
        _vae(),
        io.Int.Input(
            "frame_step",
            default=4,
            min=1,
            max=LARGEST_STEP,
            tooltip="Takes every n-th frame of a video, from its first one. AnimateDiff was trained with 4 at 30 "
            "frames per second.",
        ),
        _size("width", "Width in pixels. Frames are scaled and cut to this size around their centre."),
        _size("height", "Height in pixels."),
        io.Boolean.Input(
            "flip",
            default=False,
            tooltip="Adds a mirrored copy of every clip. Not for motion with a direction, such as moving to the left.",
        ),
    ]


def _size(name: str, tooltip: str) -> io.Int.Input:
    return io.Int.Input(name, default=256, min=64, max=LARGEST_SIZE, step=8, tooltip=tooltip)


def _vae() -> io.Vae.Input:
    return io.Vae.Input("vae", tooltip="VAE of the model to train on.")


def _images() -> io.Image.Input:
    return io.Image.Input("images", tooltip="Frames of one clip, or of several clips of clip_length frames in a row.")


def _latents() -> io.Latent.Input:
    return io.Latent.Input(
        "latents", tooltip="Latents of one clip, or of several clips of clip_length frames in a row."
    )


def _list_folders() -> list[str]:
    """Return the folders in the input folder, two levels deep, by their path in it."""
    root = Path(folder_paths.get_input_directory())
    folders = [path for pattern in ("*", "*/*") for path in root.glob(pattern) if path.is_dir()]
    return sorted(path.relative_to(root).as_posix() for path in folders)


def _find_folder(name: str) -> Path:
    """Return the path of one of `_list_folders`; raise LoomError for any other name."""
    if name not in _list_folders():
        raise LoomError(
            f"`folder` is '{name}', but '{folder_paths.get_input_directory()}' has no such folder. Put one with "
            "clips there, press R, and choose it."
        )
    return Path(folder_paths.get_input_directory()) / name
