"""Motion modules in a bare UNet of the host, without a patcher: as a training loop runs them."""

from collections.abc import Mapping

from torch import nn

from ..motion_modules.contract import MotionInputs
from ..motion_modules.unet.placement import module_options
from ..motion_modules.unet.sites import Site
from .checkpointing import GradientCheckpointing


def bare_options(
    sites: Mapping[str, Site], modules: Mapping[str, nn.Module], inputs: MotionInputs, checkpointing: bool = False
) -> dict:
    """Return the `transformer_options` with which a bare UNet of the host runs `modules`.

    `modules` have the names of their `sites`. Gradients flow through them and through the UNet.
    `checkpointing` saves memory: the backward pass runs every module a second time.
    """
    if checkpointing:
        modules = {name: GradientCheckpointing(module) for name, module in modules.items()}
    return module_options(sites, modules, inputs)
