"""Pictures brought to the size of a clip."""

import comfy.utils
import torch

METHOD = "lanczos"  # the host's rounds to 8 bits, even where the size stays


def cover(pictures: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """Return `[pictures, channels, height, width]`: cropped around the centre to that aspect ratio, and resized."""
    if pictures.shape[-2:] == (height, width):
        return pictures
    return comfy.utils.common_upscale(pictures, width, height, METHOD, "center")
