"""Files that are not text-to-video motion models, and what each of them needs instead."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ..errors import MotionModelError
from ..families import KeyShapes


@dataclass(frozen=True)
class OtherFile:
    """`markers` are groups of key fragments; all fragments of one group tell the kind."""

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
    OtherFile("motion LoRA", "a motion model to change", (("_lora.",), (".lora_A.",), (".lora_down.",))),
    OtherFile("SparseCtrl", "a condition image", (("controlnet_cond_embedding",), ("controlnet_down_blocks",))),
    OtherFile("HelloMeme", "a reference image", (("reference_modules_",),)),
    OtherFile("FancyVideo", "a reference image", (("FancyVideo",), ("fps_embedding.", "motion_embedding."))),
    OtherFile("PIA", "a reference image", conv_in_channels=9),
    OtherFile("AnimateLCM-I2V", "a reference image", (("img_encoder.",),)),
    OtherFile("MotionCtrl", "a camera path", (("cc_projection",),)),
    OtherFile("CameraCtrl", "a camera path", (("qkv_merge",), ("encoder_conv_in",), ("pose_encoder",))),
)


def refuse_other_files(shapes: KeyShapes, file: str) -> None:
    """Raise when `shapes`, by key, are those of a known kind of file that is no text-to-video motion model."""
    for other in OTHER_FILES:
        if other.recognises(shapes):
            raise MotionModelError(
                f"Motion model '{file}' is a {other.kind} file, which needs {other.needs} and is not supported yet: "
                "choose a text-to-video motion model."
            )


def refuse_unregistered(keys: Iterable[str], brought_by: Mapping[str, str], file: str) -> None:
    """Raise MotionModelError for `keys` of architectures that no pack brings that is loaded now."""
    for key in keys:
        pack = brought_by.get(key)
        brings = f"the pack '{pack}' that brings it" if pack else "the pack that brings it"
        raise MotionModelError(
            f"Motion model '{file}' is made of motion modules of the architecture '{key}', and {brings} is missing: "
            "install that custom-node pack, or choose another motion model."
        )
