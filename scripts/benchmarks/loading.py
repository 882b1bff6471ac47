"""Loading of a motion model file: `load_motion_model` over the host's `load_torch_file` of the same file."""

import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import torch
from host.checkout import HOSTS
from host.in_process import pack

from . import Run
from .measuring import Figure, Sample, alternate, compare, measure_time
from .models import compute_in, random_motion_tensors

AT_MOST = 1.3
CPU = torch.device("cpu")


def figures(run: Run) -> Iterator[Figure]:
    """Time both as they are and with every weight read: they map the file, and read a weight when it is first used."""
    compute_in("fp32")
    with tempfile.TemporaryDirectory(prefix=".benchmark-", dir=_folder()) as folder:
        file = _write(Path(folder) / "v3_fp32.safetensors")
        loaders = {"ours": lambda: _ours(file), "host": lambda: _host(file)}
        _time(loaders, _read_all, 1)
        mapped = _time(loaders, lambda tensors: None, 2 * run.repetitions)
        yield compare("load v3 fp32, mapped only", mapped, CPU, AT_MOST)
        warm = _time(loaders, _read_all, run.repetitions)
        yield compare("load v3 fp32, every weight read, file in memory", warm, CPU)
        if hasattr(os, "posix_fadvise"):
            cold = _time(loaders, _read_all, 2, lambda: _drop_from_memory(file))
            yield compare("load v3 fp32, every weight read, file on disk", cold, CPU)


def _time(
    loaders, use: Callable, repetitions: int, before: Callable[[], None] = lambda: None
) -> dict[str, list[Sample]]:
    def sample(load: Callable[[], object]) -> Sample:
        before()
        return measure_time(lambda: use(load()), CPU)

    return alternate({who: lambda load=load: sample(load) for who, load in loaders.items()}, repetitions)


def _ours(file: Path) -> Iterable[torch.Tensor]:
    return pack("motion_modules.files.loading").load_motion_model(str(file)).patcher.model.state_dict().values()


def _host(file: Path) -> Iterable[torch.Tensor]:
    import comfy.utils

    tensors: dict = comfy.utils.load_torch_file(str(file), safe_load=True)  # pyright: ignore[reportAssignmentType]
    return tensors.values()


def _read_all(tensors: Iterable[torch.Tensor]) -> None:
    for tensor in tensors:
        tensor.sum()


def _folder() -> Path | None:
    """Return the ignored folder of the hosts: the system's folder for temporary files may itself be in memory."""
    return HOSTS if HOSTS.is_dir() else None


def _write(file: Path) -> Path:
    from safetensors.torch import save_file

    save_file(random_motion_tensors(torch.float32), file)
    return file


def _drop_from_memory(file: Path) -> None:
    with file.open("rb") as opened:
        os.fsync(opened.fileno())
        os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
