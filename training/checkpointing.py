"""Gradient checkpointing: motion modules recompute their intermediates in the backward pass, to save memory."""

from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from ..motion_modules.contract import MotionInputs


class GradientCheckpointing(nn.Module):
    """Runs `module` with the same result and gradients, but keeps only the input of each forward pass.

    Chen et al. 2016, "Training Deep Nets with Sublinear Memory Cost", section 3. Without gradients
    it costs nothing.
    """

    def __init__(self, module: nn.Module):
        super().__init__()
        self.module = module

    def forward(self, x: torch.Tensor, inputs: MotionInputs) -> torch.Tensor:
        """`x` and the result are `[chunks * frames, channels, height, width]`."""
        if not torch.is_grad_enabled():
            return self.module(x, inputs)
        result: Any = checkpoint(self.module, x, inputs, use_reentrant=False)
        return result
