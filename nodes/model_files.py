"""Folders of models, whose files are the choices of an input."""

from dataclasses import dataclass
from pathlib import Path

import folder_paths

from ..motion_modules.errors import LoomError


@dataclass(frozen=True)
class ModelFolder:
    """A folder in `models/`, for the files of this `kind` that the node input `input` lists."""

    name: str
    input: str
    kind: str
    suggestion: str

    @property
    def choices(self) -> list[str]:
        return folder_paths.get_filename_list(self.name) or [f"(no file in models/{self.name})"]

    def check(self, file: str | None) -> bool | str:
        """Return True for a file that is there, or for a linked input; else the sentence that the host shows."""
        if file is None or file in folder_paths.get_filename_list(self.name):
            return True
        return self._describe_missing(file)

    def find(self, file: str) -> str:
        """Return the path of `file`; raise LoomError when there is none."""
        path = folder_paths.get_full_path(self.name, file)
        if path is None:
            raise LoomError(self._describe_missing(file))
        return path

    def fingerprint(self, file: str) -> str:
        """Return the time and size of `file`, so that a replaced file is loaded again."""
        status = Path(self.find(file)).stat()
        return f"{status.st_mtime_ns} {status.st_size}"

    def _describe_missing(self, file: str) -> str:
        """Return which file is missing from which folder, and what to do."""
        folder = folder_paths.get_folder_paths(self.name)[0]
        if not folder_paths.get_filename_list(self.name):
            return (
                f"`{self.input}` is empty, since there is no {self.kind} in '{folder}'. "
                f"Download one, {self.suggestion}, put it there, and press R."
            )
        return (
            f"`{self.input}` is '{file}', which is not in '{folder}'. "
            "Choose another one from the list, or put that file there and press R."
        )
