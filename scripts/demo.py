"""Make a video from a prompt in a real ComfyUI with this checkout as its only custom node.

Needs Python 3.10 and a package index.
Without --checkpoint, --motion-model and --workflow it takes Loom Mini, the tiny model in demo/loom_mini; a workflow
without models gets random weights, whose video is noise.
"""

import argparse
import math
import time
from dataclasses import dataclass
from pathlib import Path

from host import loom_mini
from host.checkout import HOSTS, ROOT
from host.data_folder import place_model
from host.environment import make_environment
from host.existing import find_comfyui, find_model, find_python
from host.processes import run, status_of
from host.progress_bar import ProgressBar
from host.prompts import load_prompt, set_everywhere, set_positive_prompt
from host.releases import NEWEST, host_tree
from host.script import run_as_script
from host.server import Prompt, Server, ServerError
from host.weights import ModelFiles, complete_pair

WORKFLOW = ROOT / "workflows" / "api" / "text_to_video.json"
VIDEO_SUFFIXES = {".mp4", ".webm", ".mkv", ".mov"}
SYNTHETIC_SIZE, SYNTHETIC_STEPS = 128, 4
ACCELERATED = """
import torch
kinds = torch.cuda, torch.backends.mps, getattr(torch, "xpu", torch.cuda)
raise SystemExit(not any(kind.is_available() for kind in kinds))
"""
SLOW = """The torch in {python} finds no GPU, and real weights are slow on a CPU.
--comfyui PATH uses a ComfyUI whose torch finds one; --size and --steps make it quicker."""


@dataclass(frozen=True)
class Host:
    tree: Path
    python: Path


def main() -> int:
    options = _parser().parse_args()
    start = time.monotonic()
    mini_is_default = loom_mini.is_there() and not (options.checkpoint or options.motion_model)
    prompt = load_prompt(options.workflow or (loom_mini.WORKFLOW if mini_is_default else WORKFLOW))
    mini = loom_mini.is_in(prompt)
    host = _existing_host(options) if options.comfyui else _own_host()
    files = None if mini else _model_files(options, host)
    print(f"Starting ComfyUI in {host.tree} ...", flush=True)
    server = Server(host.python, host.tree, options.folder, _device(options, host))
    if mini:
        loom_mini.install(server.folder)
    with server:
        server.require_pack("LoomApplyMotionModel")
        print(f"It serves at {server.url}, {time.monotonic() - start:.0f} s after the start.", flush=True)
        video, seconds = _make_video(server, _filled_in(prompt, options, server, files))
    print(f"{_film_strip(video, host)}\n{video}\nmade in {seconds:.1f} s")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prompt", help="what the video shows; by default the text in the workflow")
    parser.add_argument("--checkpoint", metavar="FILE", help="a Stable Diffusion 1.5 checkpoint")
    parser.add_argument("--motion-model", metavar="FILE", help="an AnimateDiff motion model")
    parser.add_argument("--size", type=int, metavar="PIXELS", help="width and height, a multiple of 8")
    parser.add_argument("--steps", type=int, help="sampling steps")
    _add_paths(parser)
    parser.add_argument("--cpu", action="store_true", help="use no GPU")
    return parser


def _add_paths(parser: argparse.ArgumentParser) -> None:
    for option, default, metavar, meaning in (
        ("--workflow", None, "FILE", "another workflow in API format"),
        ("--comfyui", None, "PATH", "a ComfyUI that is already there; it is not changed"),
        ("--python", None, "FILE", "the Python that runs --comfyui, where it is not found"),
        ("--folder", HOSTS / "data-demo", "PATH", "where models are linked, videos written"),
    ):
        parser.add_argument(option, type=Path, default=default, metavar=metavar, help=meaning)


def _own_host() -> Host:
    python = make_environment()
    return Host(host_tree(NEWEST, python=python), python)


def _existing_host(options: argparse.Namespace) -> Host:
    tree = find_comfyui(options.comfyui)
    return Host(tree, find_python(tree, options.python))


def _model_files(options: argparse.Namespace, host: Host) -> ModelFiles:
    tree = host.tree if options.comfyui else None
    checkpoint = motion_model = None
    if options.checkpoint:
        checkpoint = find_model(options.checkpoint, "--checkpoint", tree, "checkpoints")
    if options.motion_model:
        motion_model = find_model(options.motion_model, "--motion-model", tree, "animatediff_models")
    return complete_pair(checkpoint, motion_model, host.python, host.tree)


def _device(options: argparse.Namespace, host: Host) -> list[str]:
    if options.cpu:
        return ["--cpu"]
    if status_of([host.python, "-c", ACCELERATED]) == 0:
        return []
    if options.checkpoint:
        print(SLOW.format(python=host.python), flush=True)
    return ["--cpu"]


def _filled_in(prompt: Prompt, options: argparse.Namespace, server: Server, files: ModelFiles | None) -> Prompt:
    """The prompt with what the options say; without `files` the models that it names stay."""
    synthetic = files and not (options.checkpoint and options.motion_model)
    size = options.size or (SYNTHETIC_SIZE if synthetic else None)
    steps = options.steps or (SYNTHETIC_STEPS if synthetic else None)
    if files:
        set_everywhere(prompt, "ckpt_name", place_model(files.checkpoint, server.folder, "checkpoints"))
        set_everywhere(prompt, "motion_model", place_model(files.motion_model, server.folder, "animatediff_models"))
    for name, value in (("width", size), ("height", size), ("steps", steps)):
        if value:
            set_everywhere(prompt, name, value)
    if options.prompt:
        set_positive_prompt(prompt, options.prompt)
    return prompt


def _make_video(server: Server, prompt: Prompt) -> tuple[Path, float]:
    start, bar = time.monotonic(), ProgressBar()
    try:
        entry = server.run(prompt, bar, timeout=math.inf)
    finally:
        bar.close()
    videos = [file for file in server.files(entry) if file.suffix in VIDEO_SUFFIXES and file.is_file()]
    if not videos:
        raise ServerError(f"ComfyUI wrote no video. The end of {server.log}:\n{server.log_tail()}")
    return videos[-1], time.monotonic() - start


def _film_strip(video: Path, host: Host) -> Path:
    """All frames in one picture beside the video."""
    picture = video.with_suffix(".png")
    run([host.python, ROOT / "scripts" / "film_strip.py", video, picture], "Making a strip of the frames")
    return picture


if __name__ == "__main__":
    run_as_script(main, OSError, ValueError)
