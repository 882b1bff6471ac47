"""The machine that the figures were taken on, without which they mean nothing."""

import os
import platform
from pathlib import Path

import torch

CPU_MATRIX_UNITS = {"amx_bf16": "AMX bf16", "avx512_bf16": "AVX-512 bf16", "amx_fp16": "AMX fp16"}


def describe(device: torch.device) -> dict[str, str]:
    facts = {
        "system": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}, "
        f"torch {torch.__version__}",
        "processor": f"{_processor()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads",
        "bf16 on the processor": ", ".join(_matrix_units()) or "emulated, and slow",
    }
    if hasattr(os, "getloadavg"):
        facts["load before the run"] = f"load average {os.getloadavg()[0]:.1f}"
    if device.type == "cuda":
        facts["accelerator"] = _accelerator(device)
    return facts


def fast_dtypes(device: torch.device) -> tuple[str, ...]:
    """Return the precisions that are fast here. bf16 is left out where the processor only emulates it."""
    if device.type == "cuda":
        return ("fp32", "bf16", "fp16")
    return ("fp32", "bf16") if _matrix_units() else ("fp32",)


def _matrix_units() -> list[str]:
    return [name for flag, name in CPU_MATRIX_UNITS.items() if flag in _flags()]


def _flags() -> set[str]:
    if hasattr(torch.cpu, "get_capabilities"):
        return {name for name, is_present in torch.cpu.get_capabilities().items() if is_present}
    return {flag for line in _cpu_lines("flags") for flag in line.split()}


def _processor() -> str:
    return next(iter(_cpu_lines("model name")), platform.processor() or platform.machine())


def _cpu_lines(field: str) -> list[str]:
    file = Path("/proc/cpuinfo")
    if not file.exists():
        return []
    lines = file.read_text(encoding="utf-8").splitlines()
    return [line.partition(":")[2].strip() for line in lines if line.startswith(field)]


def _accelerator(device: torch.device) -> str:
    card = torch.cuda.get_device_properties(device)
    capability = f"compute capability {card.major}.{card.minor}"
    return (
        f"{card.name}, {card.total_memory / 2**30:.0f} GiB, {card.multi_processor_count} multiprocessors, {capability}"
    )
