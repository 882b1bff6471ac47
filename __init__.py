"""AnimateDiff Loom: motion modules for Stable Diffusion in ComfyUI."""

from pathlib import Path

import folder_paths
from comfyui_version import __version__ as host_version

OLDEST_HOST = "0.20.1"
WEB_DIRECTORY = "./web"
MODEL_FOLDERS = ("animatediff_models", "animatediff_motion_lora")
MODEL_SUFFIXES = {".safetensors", ".ckpt", ".pt", ".pth"}
LOOM_MINI_LORAS = Path(__file__).resolve().parent / "demo" / "loom_mini" / "motion_loras"


def _require_host(version: str) -> None:
    numbers = tuple(int(part) for part in version.split(".")[:3] if part.isdigit())
    if numbers < tuple(map(int, OLDEST_HOST.split("."))):
        raise ImportError(f"AnimateDiff Loom needs ComfyUI {OLDEST_HOST} or newer, this is {version}: update ComfyUI.")


def _add_model_folders() -> None:
    for name in MODEL_FOLDERS:
        folder_paths.add_model_folder_path(name, str(Path(folder_paths.models_dir) / name))
        paths, suffixes = folder_paths.folder_names_and_paths[name]
        folder_paths.folder_names_and_paths[name] = (paths, suffixes | MODEL_SUFFIXES)
    folder_paths.add_model_folder_path("animatediff_motion_lora", str(LOOM_MINI_LORAS))


_require_host(host_version)
_add_model_folders()


async def comfy_entrypoint():
    from comfy_api.latest import ComfyExtension

    from .nodes import NODES

    class LoomExtension(ComfyExtension):
        async def get_node_list(self):
            return NODES

    return LoomExtension()
