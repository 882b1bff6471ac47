"""Conversion to CIE L*a*b*, where distances are differences that the eye sees."""

import torch

SRGB_TO_XYZ = (  # IEC 61966-2-1, for the white of D65
    (0.4124564, 0.3575761, 0.1804375),
    (0.2126729, 0.7151522, 0.0721750),
    (0.0193339, 0.1191920, 0.9503041),
)
EDGE, SLOPE, OFFSET = (6 / 29) ** 3, (29 / 6) ** 2 / 3, 4 / 29


def convert_to_lab(rgb: torch.Tensor) -> torch.Tensor:
    """Convert sRGB `[n, 3, height, width]` from 0 to 1 to CIE L*a*b* 1976 (white D65); L* is 0 to 100."""
    matrix = rgb.new_tensor(SRGB_TO_XYZ)
    relative = torch.einsum("ij,njhw->nihw", matrix / matrix.sum(dim=1, keepdim=True), _linearise(rgb))
    x, y, z = torch.where(relative > EDGE, relative.clamp(min=EDGE) ** (1 / 3), SLOPE * relative + OFFSET).unbind(1)
    return torch.stack((116 * y - 16, 500 * (x - y), 200 * (y - z)), dim=1)


def _linearise(rgb: torch.Tensor) -> torch.Tensor:
    return torch.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
