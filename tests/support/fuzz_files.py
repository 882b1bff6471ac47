"""Run in a process of its own: loads mutated motion model files, and prints what became of them as JSON.

Arguments: the host's tree, an empty folder, how many files, and the first seed. Each file is a
valid one with a few changes that its seed decides: bytes anywhere, instructions of its pickle in an
archive that is whole otherwise, an entry of its header, or the type of its weights. When the process
is killed, the file that did it is left in the folder.
"""

import io
import json
import pickle
import random
import resource
import sys
import time
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

from fresh_process import load_conftest

ARCHITECTURES = ("temporal_convolution", "low_rank_attention", "scale_shift")
SITE = "mid_block.motion_modules.0"
CHANNELS, TIME_CHANNELS, POSITIONS = 32, 32, 4
CPU_LIMIT = 600  # seconds until the process is killed
PIECES = (b"(", b"t", b"\x86", b"s", b"u", b"a", b"e", b"R", b"b", b"Q", b"2", b"0", b"}", b"]", b")", b"K\0", b"q\0")
PIECES += (
    b"h\0",
    b"\x8a\xff" + b"\x7f" * 255,
    b"J\xff\xff\xff\x7f",
    b"X\xff\xff\xff\xff",
    b"N",
    b"\x88",
    b".",
    b"\x81",
)
PIECES += (b"cbuiltins\nbytearray\n", b"ccollections\nOrderedDict\n", b"c_codecs\nencode\n", b"cbuiltins\nset\n")
PIECES += (b"ctorch\nSize\n", b"ctorch._utils\n_rebuild_tensor_v2\n", b"cposix\nsystem\n", b"ctorch\nFloatStorage\n")
WORDS = (b"F16", b"F32", b"F64", b"I64", b"I32", b"BOOL", b"F8_E4M3", b"BF16", b"C64", b"0", b"-1", b"1e9", b"[", b"]")
WORDS += (b"{", b"}", b'"', b",", b"99999999999999999999", b"null", b"module.", b"lora_", b"ema.", b"down_blocks.0.")


def main(tree: str, folder: Path, count: int, seed: int) -> None:
    sys.path.insert(0, tree)
    sys.argv = sys.argv[:1]
    conftest = load_conftest()
    conftest._use_cpu()
    conftest._load_pack()
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_LIMIT, CPU_LIMIT))
    from animatediff_loom.motion_modules.files import loading

    loading.architectures = cache(loading.architectures)  # which reads thousands of imported modules for each file
    load = make_loader(loading.load_motion_model)
    originals = list(make_originals(folder))
    for number in range(200):
        load(mutate(originals, -number), folder)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    outcomes, slowest, start = Counter(), (0.0, 0), time.process_time()
    for number in range(seed, seed + count):
        before = time.process_time()
        outcomes[load(mutate(originals, number), folder)] += 1
        slowest = max(slowest, (time.process_time() - before, number))
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory) / 1024
    seconds = time.process_time() - start
    print(json.dumps({"outcomes": outcomes, "slowest": slowest, "grown": grown, "seconds": seconds}))


def make_loader(load_motion_model: Callable) -> Callable[[tuple[str, bytes], Path], str]:
    """Return a function that loads a file of a suffix and content, and says what became of it."""
    from animatediff_loom.motion_modules.errors import LoomError

    def load(file: tuple[str, bytes], folder: Path) -> str:
        path = folder / f"file{file[0]}"
        path.write_bytes(file[1])
        try:
            load_motion_model(str(path))
        except LoomError as error:
            return "refused" if 20 < len(str(error)) < 1000 else f"a message of {len(str(error))} letters"
        except Exception as error:
            return f"{type(error).__name__}: {error}"[:200]
        return "loaded"

    return load


def make_originals(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Return whole files of every format, by suffix; `.pt` is that of PyTorch before 1.6."""
    import torch
    from animatediff_loom.motion_modules.architectures.registry import architectures
    from animatediff_loom.motion_modules.contract import SiteShape
    from animatediff_loom.motion_modules.files.saving import save_motion_tensors
    from animatediff_loom.motion_modules.files.untrained import create_modules
    from animatediff_loom.motion_modules.motion_model import ModuleSpec, make_custom_family

    for key in ARCHITECTURES:
        kind = architectures()[key]
        specs = {SITE: ModuleSpec(kind, kind.config.for_site(SiteShape(CHANNELS, TIME_CHANNELS, POSITIONS)))}
        weights = create_modules(specs).by_site[SITE].state_dict()
        tensors = {f"{SITE}.{key}.{name}": tensor.half() for name, tensor in weights.items()}
        file = folder / "original.safetensors"
        save_motion_tensors(tensors, make_custom_family([kind], specs), specs, file)
        yield ".safetensors", file.read_bytes()
        for suffix, is_archive in ((".ckpt", True), (".pt", False)):
            content = io.BytesIO()
            torch.save({"epoch": 1, "state_dict": tensors}, content, _use_new_zipfile_serialization=is_archive)
            yield suffix, content.getvalue()


def mutate(originals: list[tuple[str, bytes]], seed: int) -> tuple[str, bytes]:
    """Return one of the `originals` with one to four changes."""
    chance = random.Random(seed)
    suffix, content = chance.choice(originals)
    if chance.random() < 0.2:
        return suffix, mutate_header(content, chance) if suffix == ".safetensors" else change_types(content, chance)
    if suffix == ".ckpt" and chance.random() < 0.7:
        return suffix, mutate_pickle(content, chance)
    structure = len(content) if chance.random() < 0.2 else find_structure(suffix, content)
    changed = bytearray(content)
    for _ in range(chance.randint(1, 4)):
        change(changed, chance, min(structure, len(changed)), WORDS if suffix == ".safetensors" else PIECES)
    if suffix == ".safetensors" and chance.random() < 0.7:
        changed[:8] = (int.from_bytes(content[:8], "little") + len(changed) - len(content)).to_bytes(8, "little")
    return suffix, bytes(changed)


def mutate_header(content: bytes, chance: random.Random) -> bytes:
    """Return a safetensors file with another type, size or name of one tensor, and a header that is whole."""
    end = find_structure(".safetensors", content)
    header = json.loads(content[8:end])
    name = chance.choice([key for key in header if key != "__metadata__"])
    entry = header[name]
    kind = chance.randrange(4)
    if kind == 0:
        entry["dtype"] = chance.choice(("I16", "BF16", "U16", "F8_E4M3", "BOOL", "C64", "F32", "F4", "F8_E8M0", "X"))
    elif kind == 1:
        entry["shape"][chance.randrange(len(entry["shape"]))] = chance.choice((0, 1, -1, 2**20, 2**63, 0.5, "4", None))
        entry["data_offsets"][1] = chance.choice(entry["data_offsets"])
    elif kind == 2:
        header[chance.choice(("module.", "ema.", "x.", "")) + name[chance.choice((0, 0, 0, 5)) :]] = header.pop(name)
    else:
        old, new = chance.choice((("1", "0"), ("4", "-4"), ("false", "3"), ("{", "["), ('"', "'"), ("32", "1e9")))
        entries = header["__metadata__"]
        entries["loom_motion_model"] = entries["loom_motion_model"].replace(old, new)
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + content[end:]


def change_types(content: bytes, chance: random.Random) -> bytes:
    """Return a checkpoint that says another type of its weights."""
    kind = chance.choice((b"Short", b"BFloat16", b"Bool", b"Byte", b"Float", b"ComplexFloat", b"QInt8", b"Untyped"))
    if content.startswith(b"PK"):
        return edit_archive(content, lambda part: part.replace(b"Half", kind))
    return content.replace(b"Half", kind)


def find_structure(suffix: str, content: bytes) -> int:
    """Return how many bytes at the start of a file are not weights."""
    return 8 + int.from_bytes(content[:8], "little") if suffix == ".safetensors" else content.rfind(pickle.STOP) + 1


def mutate_pickle(content: bytes, chance: random.Random) -> bytes:
    """Return an archive of `torch.save` with changes in its pickle."""

    def edit(part: bytes) -> bytes:
        changed = bytearray(part)
        for _ in range(chance.randint(1, 4)):
            change(changed, chance, len(changed), PIECES)
        return bytes(changed)

    return edit_archive(content, edit)


def edit_archive(content: bytes, edit: Callable[[bytes], bytes]) -> bytes:
    """Return an archive with another pickle, and right checksums."""
    result = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(result, "w") as new:
        for name in old.namelist():
            new.writestr(name, edit(old.read(name)) if name.endswith("data.pkl") else old.read(name))
    return result.getvalue()


def change(content: bytearray, chance: random.Random, end: int, pieces: tuple[bytes, ...]) -> None:
    """Change `content` at a place before `end`."""
    place = chance.randrange(max(1, end))
    kind = chance.randrange(6)
    if kind == 0:
        content[place : place + 1] = bytes([chance.randrange(256)])
    elif kind == 1:
        content[place:place] = chance.choice(pieces) * chance.choice((1, 1, 2, 50, 1000))
    elif kind == 2:
        piece = chance.choice(pieces)
        content[place : place + len(piece)] = piece
    elif kind == 3:
        del content[place : place + chance.choice((1, 2, 8, 100))]
    elif kind == 4:
        other, length = chance.randrange(max(1, end)), chance.choice((1, 4, 30, 300))
        content[place:place] = content[other : other + length] * chance.choice((1, 1, 20))
    else:
        content[place : place + 1] = bytes([content[place] ^ 1 << chance.randrange(8)]) if content else b""


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
