"""A ComfyUI and this pack in the Python process that runs, without a server. Needs torch."""

import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import torch

from .checkout import PACK, ROOT


def use_host(tree: Path, device: str | None = None, **host_options: bool) -> torch.device:
    """Make `comfy` importable from `tree` and this checkout as `animatediff_loom`.

    `device` is "cpu" or "cuda", by default a GPU where there is one. `host_options` are
    command-line options of the host, such as `use_pytorch_cross_attention`.
    """
    put_host_on_path(tree)
    from comfy.cli_args import args

    args.cpu = device == "cpu" or not torch.cuda.is_available()
    for name, value in host_options.items():
        setattr(args, name, value)
    load_pack()
    return torch.device("cpu" if args.cpu else "cuda")


def put_host_on_path(tree: Path) -> None:
    if str(tree) not in sys.path:
        sys.path.insert(0, str(tree))


def load_pack() -> None:
    """Import this pack as `animatediff_loom`, as ComfyUI does under a name of its own."""
    if PACK not in sys.modules:
        spec = importlib.util.spec_from_file_location(
            PACK, ROOT / "__init__.py", submodule_search_locations=[str(ROOT)]
        )
        assert spec and spec.loader
        sys.modules[PACK] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[PACK])


def pack(module: str) -> ModuleType:
    """Import a module of the pack, such as `sampling.steps`."""
    return importlib.import_module(f"{PACK}.{module}")
