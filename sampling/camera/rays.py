"""Rays of a camera path in Plücker coordinates, as CameraCtrl sees them (He et al. 2024, "CameraCtrl").

A ray through a pixel has the direction d and passes the position o of the camera; its coordinates are the moment
o x d and d. Cameras are relative to the first frame of the clip.
"""

import torch

from .poses import CameraPath, from_first_camera


def fit_lenses(path: CameraPath, width: int, height: int) -> torch.Tensor:
    """Return fx, fy, cx and cy in pixels, `[frames, 4]`, for pictures cut out of the source to their shape."""
    fx, fy, cx, cy = path.lenses.unbind(dim=1)
    source, picture = path.source_size[0] / path.source_size[1], width / height
    if source > picture:
        fx = fx * source / picture
    else:
        fy = fy * picture / source
    return torch.stack((fx * width, fy * height, cx * width, cy * height), dim=1)


def cast_rays(path: CameraPath, first: int, last: int, width: int, height: int) -> torch.Tensor:
    """Return the rays of frames `first` to `last` - 1, `[frames, 6, height, width]` in float64: o x d, then d."""
    cameras = from_first_camera(torch.cat((path.poses[:1], path.poses[first:last])))[1:]
    fx, fy, cx, cy = (values[:, None, None] for values in fit_lenses(path, width, height)[first:last].unbind(dim=1))
    v, u = torch.meshgrid(
        torch.arange(height, dtype=torch.float64) + 0.5, torch.arange(width, dtype=torch.float64) + 0.5, indexing="ij"
    )
    x, y = (u - cx) / fx, (v - cy) / fy
    seen = torch.stack((x, y, torch.ones_like(x)), dim=-1)
    seen = seen / seen.norm(dim=-1, keepdim=True)
    directions = torch.einsum("fij,fhwj->fhwi", cameras[:, :3, :3], seen)
    origins = cameras[:, None, None, :3, 3].expand_as(directions)
    moments = torch.linalg.cross(origins, directions, dim=-1)
    return torch.cat((moments, directions), dim=-1).permute(0, 3, 1, 2)
