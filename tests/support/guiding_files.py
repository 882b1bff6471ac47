"""What a workflow may need beside a checkpoint and a motion model: a video to follow and a ControlNet."""

from pathlib import Path

import av
import numpy
import torch
from safetensors.torch import save_file
from synthetic_motion import random_tensor
from synthetic_weights import KINDS, unet_config

WIDTH, HEIGHT, SIDE = 96, 64, 24
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


def save_control_net(file: Path) -> None:
    """A ControlNet of random weights for an SD1.5 checkpoint with 320 channels at every level."""
    import comfy.cldm.cldm

    config = {name: value for name, value in unet_config(KINDS["sd15_narrow"]).items() if name not in OF_THE_DECODER}
    net = comfy.cldm.cldm.ControlNet(hint_channels=3, device="meta", **config)
    weights = {
        f"control_model.{name}": random_tensor(name, weight.shape, seed=0, dtype=torch.float16)
        for name, weight in net.state_dict().items()
    }
    save_file(weights, file)
