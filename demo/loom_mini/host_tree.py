"""Make the host and the pack importable in a script that runs outside ComfyUI."""

import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import torch

PACK = "animatediff_loom"
PACK_FOLDER = Path(__file__).resolve().parent.parent.parent


def use_host(tree: Path) -> torch.device:
    """Put the ComfyUI in `tree` first on the path; return a GPU if there is one, else the CPU."""
    sys.path.insert(0, str(tree))
    from comfy.cli_args import args

    args.cpu = not torch.cuda.is_available()
    args.use_pytorch_cross_attention = True
    load_pack()
    return torch.device("cpu" if args.cpu else "cuda")


def load_pack() -> None:
    """Import this pack as `animatediff_loom`, as ComfyUI does under a name of its own."""
    if PACK not in sys.modules:
        file = PACK_FOLDER / "__init__.py"
        spec = importlib.util.spec_from_file_location(PACK, file, submodule_search_locations=[str(PACK_FOLDER)])
        assert spec and spec.loader
        sys.modules[PACK] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[PACK])


def pack(module: str) -> ModuleType:
    """Return a module of the pack, such as `motion_modules.beta_schedules`."""
    return importlib.import_module(f"{PACK}.{module}")
