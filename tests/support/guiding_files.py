"""What a workflow may need beside a checkpoint and a motion model: a video to follow, a ControlNet and a LoRA."""

from pathlib import Path
from typing import Any

import av
import numpy
import torch
from safetensors.torch import save_file
from synthetic_motion import random_tensor
from synthetic_weights import KINDS, unet_config

WIDTH, HEIGHT, SIDE = 96, 64, 24
WIDTH_OF_LOOM_MINI, RANK = 64, 4
OF_THE_DECODER = ("out_channels", "transformer_depth_output")


def write_video(file: Path, frames: int, rate: int) -> None:
    """A bright square on grey that moves two pixels to the right in every frame."""
    with av.open(str(file), "w") as container:
        stream = container.add_stream("libx264", rate=rate)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for number in range(frames):
            picture = av.VideoFrame.from_ndarray(_picture(left=8 + 2 * number), format="rgb24")
            container.mux(stream.encode(picture))
        container.mux(stream.encode())


def _picture(left: int) -> numpy.ndarray:
    picture = numpy.full((HEIGHT, WIDTH, 3), 60, numpy.uint8)
    picture[20 : 20 + SIDE, left : left + SIDE] = 230
    return picture


def save_control_net(file: Path, unet: dict[str, Any] | None = None) -> None:
    """A ControlNet of random weights for a UNet; without one, for SD1.5 with 320 channels at every level."""
    import comfy.cldm.cldm

    unet = unet or unet_config(KINDS["sd15_narrow"])
    config = {name: value for name, value in unet.items() if name not in OF_THE_DECODER}
    net = comfy.cldm.cldm.ControlNet(hint_channels=3, device="meta", **config)
    weights = {
        f"control_model.{name}": random_tensor(name, weight.shape, seed=0, dtype=torch.float16)
        for name, weight in net.state_dict().items()
    }
    save_file(weights, file)


def save_lora(file: Path) -> None:
    """A LoRA of random weights for attention layers of Loom Mini's UNet, strong enough to be seen."""
    layers = [f"input_blocks_{number}_1_transformer_blocks_0_attn1_to_q" for number in (1, 2)]
    layers += [f"output_blocks_{number}_1_transformer_blocks_0_attn2_to_out_0" for number in (9, 10, 11)]
    shapes = {"lora_up.weight": (WIDTH_OF_LOOM_MINI, RANK), "lora_down.weight": (RANK, WIDTH_OF_LOOM_MINI)}
    names = {f"lora_unet_{layer}.{part}": shape for layer in layers for part, shape in shapes.items()}
    save_file({name: random_tensor(name, shape, 0, torch.float32) for name, shape in names.items()}, file)
