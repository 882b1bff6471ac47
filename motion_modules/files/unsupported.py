"""Files that cannot be used: other kinds of files, and architectures of packs that are not installed."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from ..adapters.adapter import Adapter
from ..architectures.registry import KnownArchitectures
from ..errors import FileFault


@dataclass(frozen=True)
class OtherFile:
    """A kind of file, and the input that it needs; a file is of this kind if it has all key fragments of one marker.

    `remedy` names the node that loads it, if this pack has one.
    """

    kind: str
    needs: str
    markers: tuple[tuple[str, ...], ...]
    remedy: str = ""

    def recognises(self, keys: Collection[str]) -> bool:
        return any(all(any(part in key for key in keys) for part in group) for group in self.markers)


OTHER_FILES = (
    OtherFile(
        "SparseCtrl",
        "a condition image",
        (("controlnet_cond_embedding",), ("controlnet_down_blocks",)),
        remedy="Move it to models/controlnet and load it with the Load SparseCtrl node.",
    ),
    OtherFile("HelloMeme", "a reference image", (("reference_modules_",),)),
    OtherFile("FancyVideo", "a reference image", (("FancyVideo",), ("fps_embedding.", "motion_embedding."))),
    OtherFile("MotionCtrl", "a camera path", (("cc_projection",),)),
)


LORA_MARKS = ("_lora.", ".lora_", ".lora.", "lora_linear_layer", ".hada_w", ".lokr_w", ".oft_", ".boft_", ".dora_scale")
LORA_ENDS = (".diff", ".diff_b")
PEFT_BASE = ".base_layer."
MOTION_MARKS = ("motion_modules", "temporal_attentions", "temporal_transformer")


def refuse_other_files(keys: Collection[str], motion_keys: Collection[str]) -> None:
    """Raise FileFault when `keys` are those of a file that needs more inputs than this pack has.

    `motion_keys` are those of motion modules among them.
    """
    _refuse_loras([key for key in keys if _is_lora(key)], motion_keys)
    for other in OTHER_FILES:
        if other.recognises(keys):
            raise _make_unsupported_fault(other)


def make_part_fault(adapter: Adapter) -> FileFault:
    """Return the fault of a file that holds an `adapter` and no motion modules."""
    if adapter.has_own_files:
        return FileFault(
            f"holds {adapter.name} without motion modules, which needs {adapter.needs}. Load a motion model, connect "
            f"it to {adapter.node}, and choose this file there."
        )
    return FileFault(f"holds a part of {adapter.name}, but no motion modules. Choose a complete motion model.")


def describe_unused_loras(keys: Iterable[str]) -> list[str]:
    """Return a note on LoRA layers of the image model that a file has beside its motion modules, if it has any."""
    return ["the LoRA for the image model in the file is not used"] if any(map(_is_lora, keys)) else []


def _refuse_loras(loras: list[str], motion_keys: Collection[str]) -> None:
    """Raise FileFault for a LoRA; one for the image model beside whole motion modules is no reason to."""
    weights = any(not _is_lora(key) for key in motion_keys)
    for_motion = any(any(mark in key for mark in MOTION_MARKS) for key in loras)
    if any(PEFT_BASE in key for key in motion_keys) or (for_motion and weights):
        raise FileFault(
            "is a motion model with a LoRA, such as a PEFT adapter, that is not merged into it. "
            "Merge it, in PEFT with merge_and_unload(), and save the motion model again."
        )
    if for_motion:
        raise FileFault(
            "is a motion LoRA, not a motion model. Move it to models/animatediff_motion_lora and load it with the "
            "Motion LoRA node."
        )
    if loras and not weights:
        raise _make_image_lora_fault(loras[0], "motion model")


def require_motion_lora(keys: Collection[str]) -> None:
    """Raise FileFault unless `keys` are those of a file with a LoRA for motion modules."""
    loras = [key for key in keys if _is_lora(key)]
    if any(any(mark in key for mark in MOTION_MARKS) for key in loras):
        return
    if loras:
        raise _make_image_lora_fault(loras[0], "motion LoRA")
    if any(any(mark in key for mark in MOTION_MARKS) for key in keys):
        raise FileFault("is a motion model, not a motion LoRA. Load it with the Load Motion Model node.")
    raise FileFault(
        f"holds no LoRA (its first key is '{next(iter(keys))}'). Choose a motion LoRA, such as v2_lora_ZoomIn.ckpt."
    )


def _is_lora(key: str) -> bool:
    return key.endswith(LORA_ENDS) or any(mark in key for mark in LORA_MARKS)


def _make_image_lora_fault(key: str, expected: str) -> FileFault:
    return FileFault(
        f"is a LoRA for the image model (its first key is '{key}'), not a {expected}. Load it with the Load LoRA node."
    )


def _make_unsupported_fault(other: OtherFile) -> FileFault:
    if other.remedy:
        return FileFault(f"is a {other.kind} file, not a motion model. {other.remedy}")
    return FileFault(
        f"is a {other.kind} file, which needs {other.needs} and is not supported yet. "
        "Choose a text-to-video motion model."
    )


def require_architectures(keys: Iterable[str], packs: Mapping[str, str], known: KnownArchitectures) -> None:
    """Raise where one of the architectures `keys` is missing or cannot be used; `packs` names the pack of some."""
    for key in keys:
        if key in known.refused:
            raise known.refused[key]
        if key not in known.usable:
            pack = f"the pack '{packs[key]}'" if packs.get(key) else "the custom-node pack"
            raise FileFault(
                f"needs the motion module architecture '{key}', but {pack} that provides it is not installed. "
                "Install that pack, or choose another motion model."
            )
