"""Try the motion modules of a custom-node pack out as AnimateDiff Loom does, without a server.

Imports the pack from its folder, and runs every module of its LOOM_MOTION_MODULES on a tiny
feature map. Exits with status 1 when one is refused, and says why. Needs Python 3.10; without
--comfyui, a pinned ComfyUI and its packages are fetched once.
"""

import argparse
import importlib.util
import sys
from pathlib import Path

from host.environment import make_environment
from host.errors import SetupError
from host.existing import find_comfyui, find_python
from host.processes import hand_over
from host.releases import NEWEST, host_tree
from host.script import run_as_script


def main() -> int:
    """Go on with a Python that has torch, in a ComfyUI."""
    options = _parser().parse_args()
    if not (options.pack / "__init__.py").is_file():
        raise SetupError(
            f"PACK is {options.pack}, where there is no __init__.py: name the folder of a custom-node pack."
        )
    if options.here:
        return try_pack(options.pack.resolve(), options.here)
    if options.comfyui:
        tree = find_comfyui(options.comfyui)
        python = find_python(tree, options.python)
    else:
        python = make_environment()
        tree = host_tree(NEWEST, python=python)
    return hand_over([python, __file__, options.pack, "--here", tree])


def try_pack(folder: Path, tree: Path) -> int:
    """Print a line for each module of the pack; return 1 when one of them is refused or there is none."""
    from host.in_process import pack, use_host

    use_host(tree, "cpu")
    _import_pack(folder)
    known = pack("motion_modules.architectures.registry").architectures()
    accepted = [each for each in known.usable.values() if each.origin == folder.name]
    for architecture in accepted:
        print(f"'{architecture.key}' passes.")
    for error in known.refused.values():
        print(error)
    if not accepted and not known.refused:
        print(f"{folder} lists no motion module. Add LOOM_MOTION_MODULES to its __init__.py.")
    return int(bool(known.refused) or not accepted)


def _import_pack(folder: Path) -> None:
    """Import a pack under its path, as ComfyUI does."""
    name = str(folder).replace(".", "_x_")
    spec = importlib.util.spec_from_file_location(
        name, folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    assert spec and spec.loader
    sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(sys.modules[name])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pack", type=Path, help="folder of the pack, with its __init__.py")
    parser.add_argument("--comfyui", type=Path, metavar="PATH", help="existing ComfyUI to use; it is not changed")
    parser.add_argument("--python", type=Path, metavar="FILE", help="Python that runs --comfyui")
    parser.add_argument("--here", type=Path, help=argparse.SUPPRESS)
    return parser


if __name__ == "__main__":
    run_as_script(main)
