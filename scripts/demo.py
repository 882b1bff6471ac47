"""Make a video from a prompt in a real ComfyUI whose only custom node is this checkout.

Needs Python 3.10 and a package index. Without --checkpoint, --motion-model and --workflow, the
video is made with Loom Mini, the tiny model in demo/loom_mini. Any other workflow gets random
weights for the models that are not given; its video is noise.
"""

import argparse
import sys
from pathlib import Path

from host.checkout import HOSTS, ROOT
from host.environment import make_environment
from host.errors import SetupError
from host.existing import find_comfyui, find_model, find_python
from host.processes import hand_over
from host.releases import NEWEST, host_tree
from host.script import run_as_script

MODELS = {"--checkpoint": "checkpoints", "--motion-model": "animatediff_models"}
VIDEO_ONLY = ("--prompt", "--size", "--steps", "--workflow")


def main() -> int:
    """Find or make a ComfyUI and its Python, and go on as scripts/make_video.py there."""
    options = read_options()
    if options.open:
        _refuse_video_options(options)
    tree, python = _existing_host(options) if options.comfyui else _pinned_host()
    paths = {"--comfyui": tree, "--python": python} | _models(options)
    arguments = [part for pair in paths.items() for part in pair]
    return hand_over([python, ROOT / "scripts" / "make_video.py", *sys.argv[1:], *arguments])


def read_options() -> argparse.Namespace:
    return _parser().parse_args()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prompt", help="text of the positive prompt (default: the text in the workflow)")
    parser.add_argument("--checkpoint", metavar="FILE", help="Stable Diffusion 1.5 checkpoint")
    parser.add_argument("--motion-model", metavar="FILE", help="AnimateDiff motion model")
    parser.add_argument("--size", type=int, metavar="PIXELS", help="width and height, a multiple of 8")
    parser.add_argument("--steps", type=int, help="number of sampling steps")
    _add_paths(parser)
    parser.add_argument(
        "--open", action="store_true", help="open this ComfyUI in the browser with Loom Mini's graph instead"
    )
    parser.add_argument("--cpu", action="store_true", help="do not use a GPU")
    return parser


def _refuse_video_options(options: argparse.Namespace) -> None:
    """Raise SetupError for options that the graph in the browser does not take."""
    named = [option for option in VIDEO_ONLY if getattr(options, option.lstrip("-")) is not None]
    if named:
        raise SetupError(f"--open does not take {', '.join(named)}: change the graph in the browser instead.")


def _add_paths(parser: argparse.ArgumentParser) -> None:
    for option, default, metavar, meaning in (
        ("--workflow", None, "FILE", "workflow in API format"),
        ("--comfyui", None, "PATH", "existing ComfyUI to use; it is not changed"),
        ("--python", None, "FILE", "Python that runs --comfyui (default: the one in or beside it)"),
        ("--folder", HOSTS / "data-demo", "PATH", "folder for links to models and for videos"),
    ):
        parser.add_argument(option, type=Path, default=default, metavar=metavar, help=meaning)


def _pinned_host() -> tuple[Path, Path]:
    python = make_environment()
    return host_tree(NEWEST, python=python), python


def _existing_host(options: argparse.Namespace) -> tuple[Path, Path]:
    tree = find_comfyui(options.comfyui)
    return tree, find_python(tree, options.python)


def _models(options: argparse.Namespace) -> dict[str, Path]:
    names = {"--checkpoint": options.checkpoint, "--motion-model": options.motion_model}
    tree = find_comfyui(options.comfyui) if options.comfyui else None
    return {option: find_model(name, option, tree, MODELS[option]) for option, name in names.items() if name}


if __name__ == "__main__":
    run_as_script(main, OSError)
