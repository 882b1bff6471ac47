"""Make the video of scripts/demo.py, which runs this file with the Python of the ComfyUI that it has found."""

import argparse
import math
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))  # the Python of ComfyUI's portable build leaves it out

from film_strip import save_film_strip
from host import loom_mini
from host.checkout import PACK, ROOT
from host.data_folder import place_model
from host.errors import ServerError
from host.open_browser import serve_in_browser
from host.prompts import load_prompt, set_everywhere, set_positive_prompt
from host.script import run_as_script
from host.server import OnProgress, Progress, Prompt, Server
from host.weights import ModelFiles, complete_pair
from tqdm import tqdm

from demo import MODELS, read_options

WORKFLOW = ROOT / "workflows" / "api" / "animatediff_02_text_to_video.json"
VIDEO_SUFFIXES = {".mp4", ".webm", ".mkv", ".mov"}
SYNTHETIC_SIZE, SYNTHETIC_STEPS = 128, 4
HINT = "To change its graph in the browser: python scripts/demo.py --open"
BAR = "{desc:<24} {n_fmt}/{total_fmt} |{bar:30}| {elapsed}"
SLOW = """The torch in {python} finds no GPU. Real weights are slow on a CPU.
Use a ComfyUI whose torch finds a GPU with --comfyui PATH, or set a smaller --size and fewer --steps."""


def main() -> int:
    options = read_options()
    return open_graph(options) if options.open else make_video(options)


def open_graph(options: argparse.Namespace) -> int:
    """Serve the graph of Loom Mini in the user's browser until Ctrl-C, with the given models in the lists."""
    server = _new_server(options)
    for option, kind in MODELS.items():
        if name := getattr(options, option.lstrip("-").replace("-", "_")):
            place_model(Path(name), server.folder, kind)
    with server:
        server.require_pack("LoomApplyMotionModel")
        serve_in_browser(server, f"template={loom_mini.TEMPLATE.stem}&source={PACK}")
    return 0


def make_video(options: argparse.Namespace) -> int:
    start = time.monotonic()
    mini_is_default = loom_mini.is_there() and not (options.checkpoint or options.motion_model)
    prompt = load_prompt(options.workflow or (loom_mini.WORKFLOW if mini_is_default else WORKFLOW))
    uses_mini = loom_mini.is_in(prompt)
    files = None if uses_mini else _model_files(options)
    server = _new_server(options)
    with server:
        server.require_pack("LoomApplyMotionModel")
        print(f"Serving at {server.url} after {time.monotonic() - start:.0f} s.", flush=True)
        _apply_options(prompt, options, server, files)
        video, seconds = _make_video(server, prompt)
    picture = video.with_suffix(".png")
    save_film_strip(video, picture)
    print(f"{picture}\n{video}\nmade in {seconds:.1f} s")
    if uses_mini:
        print(HINT)
    return 0


def _new_server(options: argparse.Namespace) -> Server:
    """Return a ComfyUI that is about to start, with Loom Mini in it."""
    print(f"Starting ComfyUI in {options.comfyui} ...", flush=True)
    server = Server(options.python, options.comfyui, options.folder, _device_arguments(options))
    if loom_mini.is_there():
        loom_mini.install(server.folder)
    return server


def _model_files(options: argparse.Namespace) -> ModelFiles:
    checkpoint, motion_model = (Path(name) if name else None for name in (options.checkpoint, options.motion_model))
    return complete_pair(checkpoint, motion_model, options.python, options.comfyui)


def _device_arguments(options: argparse.Namespace) -> list[str]:
    if not options.cpu and _finds_gpu():
        return []
    if options.checkpoint and not options.cpu:
        print(SLOW.format(python=options.python), flush=True)
    return ["--cpu"]


def _finds_gpu() -> bool:
    import torch

    kinds = torch.cuda, torch.backends.mps, getattr(torch, "xpu", torch.cuda)
    return any(kind.is_available() for kind in kinds)


def _apply_options(prompt: Prompt, options: argparse.Namespace, server: Server, files: ModelFiles | None) -> None:
    """Set in `prompt` what the options ask for. Without `files`, the models that it names stay."""
    is_synthetic = files and not (options.checkpoint and options.motion_model)
    size = options.size or (SYNTHETIC_SIZE if is_synthetic else None)
    steps = options.steps or (SYNTHETIC_STEPS if is_synthetic else None)
    if files:
        set_everywhere(prompt, "ckpt_name", place_model(files.checkpoint, server.folder, "checkpoints"))
        set_everywhere(prompt, "motion_model", place_model(files.motion_model, server.folder, "animatediff_models"))
    for name, value in (("width", size), ("height", size), ("steps", steps)):
        if value:
            set_everywhere(prompt, name, value)
    if options.prompt:
        set_positive_prompt(prompt, options.prompt)


def _make_video(server: Server, prompt: Prompt) -> tuple[Path, float]:
    start = time.monotonic()
    with _progress_bars() as show:
        entry = server.run(prompt, show, timeout=math.inf)
    videos = [file for file in server.files(entry) if file.suffix in VIDEO_SUFFIXES and file.is_file()]
    if not videos:
        raise ServerError(f"ComfyUI wrote no video. The end of {server.log}:\n{server.log_tail()}")
    return videos[-1], time.monotonic() - start


@contextmanager
def _progress_bars() -> Iterator[OnProgress]:
    """A bar for each node that counts its steps."""
    bars: dict[str, tqdm] = {}

    def show(progress: Progress) -> None:
        if not progress.maximum:
            return
        if progress.node not in bars:
            bars[progress.node] = tqdm(total=1, desc=progress.class_type, bar_format=BAR, file=sys.stdout)
        bar = bars[progress.node]
        bar.n, bar.total = progress.value, progress.maximum
        bar.refresh()

    try:
        yield show
    finally:
        for bar in bars.values():
            bar.close()


if __name__ == "__main__":
    run_as_script(main, OSError, ValueError)
