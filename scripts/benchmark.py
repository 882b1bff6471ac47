"""Measure the speed and memory of the pack, as ratios of two contestants that alternate in one run.

The models are the host's own classes with random weights, on a GPU where there is one. A limit that
is missed is only reported, since it depends on the machine. Results that differ where they must
agree end the run with status 1.
"""

import argparse
import importlib.util
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from host.checkout import HOSTS, VENV, python_in
from host.errors import SetupError
from host.processes import hand_over
from host.script import run_as_script

NEEDED = ("torch", "safetensors", "comfy_aimdo", "torchsde")
BENCHMARKS = {
    "import": "pack_import",
    "load": "loading",
    "module": "module_alone",
    "step": "step",
    "windows": "windows",
    "loras": "motion_loras",
    "report": "report",
    "architectures": "architectures",
    "decoding": "decoding",
    "profile": "profile",
    "operations": "operations",
}


def main(arguments: Sequence[str]) -> int:
    options = _parser().parse_args(arguments)
    if not options.no_venv and not all(map(importlib.util.find_spec, NEEDED)):
        return _run_in_venv(arguments)
    run = _run(options)
    report: list[dict[str, Any]] = [{"machine": _show_machine(run)}]
    try:
        for name in options.benchmark or BENCHMARKS:
            _measure(name, run, report)
    finally:
        if options.json:
            options.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    return 0


def _measure(name: str, run, report: list[dict[str, Any]]) -> None:
    """Print the figures of a benchmark and add them to `report`.

    Exits when results differ that must agree.
    """
    from benchmarks.measuring import ResultsDiffer

    module = importlib.import_module(f"benchmarks.{BENCHMARKS[name]}")
    try:
        for figure in module.figures(run):
            print(figure, flush=True)
            report.append(vars(figure))
    except ResultsDiffer as error:
        sys.exit(str(error))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("benchmark", nargs="*", choices=[*BENCHMARKS, []], metavar="|".join(BENCHMARKS))
    parser.add_argument("--host", type=Path, default=HOSTS / "0.30.0", help="folder of a ComfyUI")
    parser.add_argument("--device", choices=("cpu", "cuda"), help="default: cuda where there is one")
    parser.add_argument("--dtypes", nargs="+", choices=("fp32", "bf16", "fp16"), help="default: those fast here")
    parser.add_argument("--sizes", nargs="+", type=int, metavar="PIXELS", help="width and height of frames in a step")
    parser.add_argument("--frames", type=int, default=16)
    parser.add_argument("--repetitions", type=int, help="number of times that each contestant is measured")
    parser.add_argument("--no-venv", action="store_true", help="do not change to the Python of .venv")
    parser.add_argument("--json", type=Path, metavar="FILE", help="file for all samples")
    return parser


def _run_in_venv(arguments: Sequence[str]) -> int:
    python = python_in(VENV)
    if not python.exists():
        raise SetupError("This Python has no torch, and there is no .venv. Run scripts/demo.py once, which makes it.")
    return hand_over([python, __file__, "--no-venv", *arguments])


def _run(options: argparse.Namespace):
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # threads that spin while they wait would count as CPU time
    from benchmarks import Run
    from benchmarks.machine import fast_dtypes
    from host.in_process import use_host

    device = use_host(options.host.resolve(), options.device)
    sizes = options.sizes or ((128, 256, 512) if device.type == "cuda" else (128, 256))
    repetitions = options.repetitions or (5 if device.type == "cuda" else 3)
    return Run(
        options.host.resolve(),
        device,
        tuple(options.dtypes or fast_dtypes(device)),
        tuple(sizes),
        options.frames,
        repetitions,
    )


def _show_machine(run) -> dict[str, str]:
    from benchmarks.machine import describe

    facts = describe(run.device)
    for name, value in facts.items():
        print(f"{name}: {value}")
    return facts


if __name__ == "__main__":
    run_as_script(lambda: main(sys.argv[1:]))
