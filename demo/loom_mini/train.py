"""Trains Loom Mini in the order of the AnimateDiff paper: autoencoder, image model on single frames, motion module.

Every stage resumes from its own checkpoint; `export` writes the two files that are shipped. With
`--architecture`, the stages motion, evaluate and export use motion modules of another architecture,
in other files.
"""

import argparse
import importlib
import sys
from dataclasses import replace
from pathlib import Path

import torch

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE.parents[1] / "scripts")]

from host.in_process import use_host  # noqa: E402

from loom_mini.anomalies import TrainingStopped  # noqa: E402
from loom_mini.trainer import PRECISIONS  # noqa: E402

STAGES = ("vae", "latents", "image", "motion", "decoder", "evaluate", "export")


def main() -> None:
    parser = _parser()
    options = parser.parse_args()
    if options.checkpointing and options.stage != "motion":
        parser.error(f"--checkpointing is for motion modules, which the stage {options.stage} does not train: omit it")
    torch.set_default_device(use_host(options.host, use_pytorch_cross_attention=True))
    torch.set_num_threads(options.threads)
    torch.set_flush_denormal(True)
    stage = importlib.import_module(f"loom_mini.{options.stage}_stage")
    names = ("steps", "batch", "rate", "seed", "size", "precision", "checkpointing", "detect_anomaly", "architecture")
    overrides = {name: getattr(options, name) for name in names}
    plan = replace(stage.PLAN, **{name: value for name, value in overrides.items() if value is not None})
    try:
        stage.train(options.folder, plan)
    except TrainingStopped as stopped:
        sys.exit(f"\n{stopped}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stage", choices=STAGES)
    parser.add_argument("--host", type=Path, required=True, help="folder of a ComfyUI, whose classes are trained")
    parser.add_argument("--folder", type=Path, required=True, help="where checkpoints and sample sheets go")
    parser.add_argument("--steps", type=int, help="length of the stage")
    parser.add_argument("--batch", type=int, help="pictures or clips in a step")
    parser.add_argument("--rate", type=float, help="highest learning rate")
    parser.add_argument("--seed", type=int)
    parser.add_argument("--size", type=int, help="of the pictures, in pixels; the same for all stages")
    parser.add_argument(
        "--precision", choices=PRECISIONS, help="autocast: bf16 is quicker on a GPU, and on a CPU with AMX"
    )
    parser.add_argument("--checkpointing", action="store_true", help="less memory for motion modules, more time")
    parser.add_argument("--detect-anomaly", action="store_true", help="name what makes the first NaN; slow")
    parser.add_argument("--architecture", help="of the motion modules, by the name under which the pack knows it")
    parser.add_argument("--threads", type=int, default=1, help="a second thread waits more than it helps on busy cores")
    return parser


if __name__ == "__main__":
    main()
