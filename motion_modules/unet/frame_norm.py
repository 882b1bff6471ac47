"""GroupNorm over all frames of a clip, as the UNets of AnimateDiff v1 and Hotshot-XL were trained, and some modules."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from einops import rearrange
from torch.overrides import TorchFunctionMode


class JointFrameNorm(TorchFunctionMode):
    """Inside `with JointFrameNorm(frames):` every group norm of this thread takes its statistics over a clip.

    A group norm of `[chunks * frames, channels, h, w]` sees `[chunks, channels, frames, h, w]`,
    while the host's layers, weights and casts stay the same. Input with five dimensions is joined
    already, as in a graph that torch.compile recorded here and runs here again. `pause()` is for
    layers that were trained frame by frame.
    """

    def __init__(self, frames: int):
        super().__init__()
        self.frames = frames
        self.active = True

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func is F.group_norm and self.active:
            return self._normalise_clips(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))

    @contextmanager
    def pause(self) -> Iterator[None]:
        active, self.active = self.active, False
        try:
            yield
        finally:
            self.active = active

    def _normalise_clips(self, input: torch.Tensor, num_groups: int, weight=None, bias=None, eps: float = 1e-5):
        if input.ndim != 4:
            return F.group_norm(input, num_groups, weight, bias, eps)
        clips = rearrange(input, "(chunk frame) c h w -> chunk c frame h w", frame=self.frames)
        normalised = F.group_norm(clips, num_groups, weight, bias, eps)
        return rearrange(normalised, "chunk c frame h w -> (chunk frame) c h w")
