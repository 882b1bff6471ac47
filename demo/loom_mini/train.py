"""Trains Loom Mini in the order of the AnimateDiff paper: autoencoder, image model on single frames, motion module.

From a fresh clone, `train.py motion` trains motion modules on the shipped image model and exports
them; it makes the environment and the data that it needs, once. With `--architecture`, the stages
motion, evaluate and export use motion modules of another architecture, in other files. Every stage
resumes from its own checkpoint.
"""

import argparse
import importlib
import sys
from dataclasses import replace
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE.parents[1] / "scripts")]

from host.checkout import HOSTS  # noqa: E402
from host.environment import make_environment  # noqa: E402
from host.errors import SetupError  # noqa: E402
from host.processes import hand_over  # noqa: E402
from host.releases import NEWEST, host_tree  # noqa: E402
from host.script import run_as_script  # noqa: E402

STAGES = ("vae", "latents", "image", "motion", "decoder", "lora", "evaluate", "export")
PRECISIONS = ("float32", "bf16", "fp16")
LORAS = ("up", "turn")
OF_THE_PLAN = (
    *("steps", "batch", "rate", "seed", "size"),
    *("precision", "checkpointing", "detect_anomaly", "architecture", "lora", "restart"),
)


def main() -> int:
    """Train in the ComfyUI of --host; without it, go on with the pinned ComfyUI and its Python."""
    parser = _parser()
    options = parser.parse_args()
    if options.checkpointing and options.stage != "motion":
        parser.error(f"--checkpointing is for motion modules, which the stage {options.stage} does not train: omit it")
    if options.host is None:
        python = make_environment()
        return hand_over([python, HERE / "train.py", *sys.argv[1:], "--host", host_tree(NEWEST, python=python)])
    _use_host(options)
    from loom_mini.anomalies import TrainingStopped

    try:
        _run_stage(options)
    except TrainingStopped as stopped:
        raise SetupError(f"\n{stopped}") from stopped
    return 0


def _use_host(options: argparse.Namespace) -> None:
    import torch
    from host.in_process import use_host

    torch.set_default_device(use_host(options.host, use_pytorch_cross_attention=True))
    torch.set_num_threads(options.threads)
    torch.set_flush_denormal(True)


def _run_stage(options: argparse.Namespace) -> None:
    from host.in_process import pack

    stage = importlib.import_module(f"loom_mini.{options.stage}_stage")
    changes = {name: getattr(options, name) for name in OF_THE_PLAN}
    plan = replace(stage.PLAN, **{name: value for name, value in changes.items() if value is not None})
    try:
        stage.train(options.folder, plan)
        if options.stage == "motion":
            importlib.import_module("loom_mini.export_stage").export_motion_model(options.folder, plan)
    except pack("motion_modules.errors").LoomError as error:
        raise SetupError(str(error)) from error


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stage", choices=STAGES)
    parser.add_argument(
        "--host", type=Path, help="ComfyUI to train in, with the Python that runs this (default: a pinned one, fetched)"
    )
    parser.add_argument(
        "--folder",
        type=Path,
        default=HOSTS / "loom_mini",
        help="folder of checkpoints, sample sheets and exported files; without checkpoints of the image model, the "
        "shipped one is used (default: .comfyui/loom_mini)",
    )
    parser.add_argument("--steps", type=int, help="length of the stage")
    parser.add_argument("--batch", type=int, help="pictures or clips in a step")
    parser.add_argument("--rate", type=float, help="highest learning rate")
    parser.add_argument("--seed", type=int)
    parser.add_argument("--size", type=int, help="of the pictures, in pixels; the same for all stages")
    parser.add_argument(
        "--restart", action="store_true", help="begin again from the start, not from this stage's checkpoint"
    )
    _add_ways_of_computing(parser)
    return parser


def _add_ways_of_computing(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--precision", choices=PRECISIONS, help="autocast: bf16 is quicker on a GPU, and on a CPU with AMX"
    )
    parser.add_argument("--checkpointing", action="store_true", help="less memory for motion modules, more time")
    parser.add_argument("--detect-anomaly", action="store_true", help="name what makes the first NaN; slow")
    parser.add_argument("--architecture", help="of the motion modules, by the name under which the pack knows it")
    parser.add_argument("--lora", choices=LORAS, help="motion LoRA of the stages lora and evaluate")
    parser.add_argument("--threads", type=int, default=1, help="a second thread waits more than it helps on busy cores")


if __name__ == "__main__":
    run_as_script(main)
