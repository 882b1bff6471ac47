"""Files that cannot be used: other kinds of files, and architectures of packs that are not installed."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ..architectures.registry import KnownArchitectures
from ..errors import FileFault
from ..families import KeyShapes


@dataclass(frozen=True)
class OtherFile:
    """A kind of file, and the input that it needs; a file is of this kind if it has all key fragments of one marker."""

    kind: str
    needs: str
    markers: tuple[tuple[str, ...], ...] = ()
    conv_in_channels: int = 0

    def recognises(self, shapes: KeyShapes) -> bool:
        if any(all(any(part in key for key in shapes) for part in group) for group in self.markers):
            return True
        return any(
            key.endswith("conv_in.weight") and shape[1:2] == (self.conv_in_channels,) for key, shape in shapes.items()
        )


OTHER_FILES = (
    OtherFile("motion LoRA", "a motion model to be applied to", (("_lora.",), (".lora_A.",), (".lora_down.",))),
    OtherFile("SparseCtrl", "a condition image", (("controlnet_cond_embedding",), ("controlnet_down_blocks",))),
    OtherFile("HelloMeme", "a reference image", (("reference_modules_",),)),
    OtherFile("FancyVideo", "a reference image", (("FancyVideo",), ("fps_embedding.", "motion_embedding."))),
    OtherFile("PIA", "a reference image", conv_in_channels=9),
    OtherFile("AnimateLCM-I2V", "a reference image", (("img_encoder.",),)),
    OtherFile("MotionCtrl", "a camera path", (("cc_projection",),)),
    OtherFile("CameraCtrl", "a camera path", (("qkv_merge",), ("encoder_conv_in",), ("pose_encoder",))),
)


def refuse_other_files(shapes: KeyShapes) -> None:
    """Raise FileFault when keys and shapes are those of a file that needs more inputs than this pack has."""
    for other in OTHER_FILES:
        if other.recognises(shapes):
            raise FileFault(
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
