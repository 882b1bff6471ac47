"""ControlNets and adapters of the host with random weights, and how its nodes apply them."""

import comfy.cldm.cldm
import comfy.controlnet
import comfy.ops
import torch
from comfy.t2i_adapter.adapter import Adapter

import nodes
from tests.support.citizen import FRAMES
from tests.support.clips import prompt
from tests.support.host_models import CPU, unet_config
from tests.support.motion_files import random_weight


def filled(module: torch.nn.Module, scale: float = 1.0) -> torch.nn.Module:
    generator = torch.Generator().manual_seed(3)
    for name, weight in module.named_parameters():
        weight.data = random_weight(name, weight.shape, generator) * (scale if weight.ndim > 1 else 1.0)
    return module.requires_grad_(False).eval()


def control_net():
    config = unet_config("SD1.5")
    for name in ("out_channels", "transformer_depth_output"):
        config.pop(name)
    net = comfy.cldm.cldm.ControlNet(hint_channels=3, operations=comfy.ops.manual_cast, device=CPU, **config)
    return comfy.controlnet.ControlNet(filled(net), load_device=CPU)


def t2i_adapter():
    adapter = Adapter(cin=64 * 3, channels=[32, 64, 128, 128], nums_rb=2, ksize=1, sk=True, use_conv=False, xl=False)
    return comfy.controlnet.T2IAdapter(filled(adapter), 3, 8, "nearest-exact", CPU)


def pictures(frames: int = FRAMES, seed: int = 0) -> torch.Tensor:
    return torch.rand(frames, 64, 64, 3, generator=torch.Generator().manual_seed(seed))


def controlled(net, image: torch.Tensor, start: float = 0.0, end: float = 1.0) -> dict:
    node, inputs = nodes.ControlNetApplyAdvanced(), {"strength": 1.0, "start_percent": start, "end_percent": end}
    both = node.apply_controlnet(positive=prompt(2), negative=prompt(3), control_net=net, image=image, **inputs)
    return dict(zip(("positive", "negative"), both, strict=True))
