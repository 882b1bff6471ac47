"""How fast the pack is: ratios of two things timed in turn in one run, in the host's own classes with random weights.

By default everything on the accelerator when there is one, else on the processor. Run it on a quiet machine.
"""

import argparse
import importlib.util
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from host.checkout import HOSTS, VENV, python_in
from host.processes import status_of
from host.script import run_as_script

NEEDED = ("torch", "safetensors", "comfy_aimdo", "torchsde")
BENCHMARKS = {
    "import": "pack_import",
    "load": "loading",
    "module": "module_alone",
    "step": "step",
    "windows": "windows",
    "report": "report",
    "architectures": "architectures",
    "profile": "hot_spots",
}


def main(arguments: Sequence[str]) -> int:
    options = _parser().parse_args(arguments)
    if not options.no_venv and not all(map(importlib.util.find_spec, NEEDED)):
        return _run_in_venv(arguments)
    run = _run(options)
    found = [{"machine": _show_machine(run)}]
    for name in options.benchmark or BENCHMARKS:
        module = importlib.import_module(f"benchmarks.{BENCHMARKS[name]}")
        for figure in module.figures(run):
            print(figure, flush=True)
            found.append(vars(figure))
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("benchmark", nargs="*", choices=[*BENCHMARKS, []], metavar="|".join(BENCHMARKS))
    parser.add_argument("--host", type=Path, default=HOSTS / "0.30.0", help="folder of a ComfyUI")
    parser.add_argument("--device", choices=("cpu", "cuda"), help="by default cuda where there is one")
    parser.add_argument("--dtypes", nargs="+", choices=("fp32", "bf16", "fp16"), help="those that are fast here")
    parser.add_argument("--sizes", nargs="+", type=int, metavar="PIXELS", help="of the pictures in a step")
    parser.add_argument("--frames", type=int, default=16)
    parser.add_argument("--repetitions", type=int, help="how often each contestant is timed")
    parser.add_argument("--no-venv", action="store_true", help="stay in this Python")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every sample there")
    return parser


def _run_in_venv(arguments: Sequence[str]) -> int:
    python = python_in(VENV)
    if not python.exists():
        sys.exit("This Python has no torch, and there is no .venv yet: run scripts/demo.py once, which makes it.")
    return status_of([python, __file__, "--no-venv", *arguments])


def _run(options: argparse.Namespace):
    import torch
    from benchmarks import Run
    from benchmarks.machine import fast_dtypes
    from benchmarks.models import enter_host

    device = torch.device(options.device or ("cuda" if torch.cuda.is_available() else "cpu"))
    enter_host(options.host.resolve(), device)
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
