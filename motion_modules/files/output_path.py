"""Paths of new files in ComfyUI's output folder."""

from pathlib import Path

import folder_paths

from ..errors import LoomError


def new_output_path(prefix: str, suffix: str) -> Path:
    """Return the path of a file that does not exist yet, named and numbered as the host does.

    Raises LoomError when `prefix` is not a file name, or leads out of the output folder.
    """
    stem = prefix.removesuffix(suffix)
    if not stem.strip(" ./\\") or "\0" in stem or Path(stem).name.startswith("."):
        raise LoomError(
            f"`filename_prefix` is {prefix!r}, which is not a file name. Enter the start of one, such as my_motion."
        )
    try:
        folder, name, number, _, _ = folder_paths.get_save_image_path(stem, folder_paths.get_output_directory())
    except Exception as error:  # the host raises Exception itself for a folder outside
        raise LoomError(
            f"`filename_prefix` is '{prefix}', which is not a writable path in the output folder. "
            "Enter a name such as my_motion, or a folder and a name separated by /."
        ) from error
    return Path(folder) / f"{name}_{number:05}_{suffix}"
