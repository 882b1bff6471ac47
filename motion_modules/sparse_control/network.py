"""SparseCtrl: a ControlNet with motion modules, which carries a few pictures to all frames of a clip.

Guo et al. 2023, "SparseCtrl: Adding Sparse Controls to Text-to-Video Diffusion Models", section 3.
With c_s the pictures at their frames and zeros elsewhere, and m the mask of these frames:

    h = conv_in(0) + E([c_s, m]),  E zero at the start of training

The encoder gets zeros in place of the noisy latent: at frames without a picture, the noise would be
all that it sees. The rest is the encoder half of the UNet, with motion modules, and a convolution
that is zero at the start of training after each of its blocks.
"""

from dataclasses import dataclass
from typing import Any

import comfy.cldm.cldm
import comfy.ops
import torch
from comfy.ldm.modules.diffusionmodules.openaimodel import TimestepEmbedSequential
from comfy.ldm.modules.diffusionmodules.util import timestep_embedding

from ..contract import MotionInputs
from ..motion_model import MotionModules
from ..unet.placement import module_options
from ..unet.sites import Site, encoder_sites

HEADS = 8  # of SD1.5, at every width
LATENT_CHANNELS, PICTURE_CHANNELS, MASK_CHANNELS = 4, 3, 1


@dataclass(frozen=True)
class SparseControlConfig:
    """Shape of the network; `takes_latents` tells the rgb kind from the scribble kind, which sees pixels.

    `layers` and `depths` hold, per level, the number of residual blocks and of transformer blocks
    after each of them.
    """

    takes_latents: bool
    channels: int
    multipliers: tuple[int, ...]
    layers: tuple[int, ...]
    depths: tuple[int, ...]
    middle_depth: int
    text_width: int
    linear_projections: bool

    @property
    def hint_channels(self) -> int:
        return (LATENT_CHANNELS if self.takes_latents else PICTURE_CHANNELS) + MASK_CHANNELS

    @property
    def sites(self) -> tuple[str, ...]:
        """Places of the motion modules: after every layer of the encoder."""
        return tuple(
            f"down_blocks.{level}.motion_modules.{index}"
            for level, count in enumerate(self.layers)
            for index in range(count)
        )

    @property
    def unet(self) -> dict[str, Any]:
        """The configuration in the host's words."""
        depths = [self.depths[level] for level, count in enumerate(self.layers) for _ in range(count)]
        return {
            "image_size": 32,
            "in_channels": LATENT_CHANNELS,
            "model_channels": self.channels,
            "channel_mult": list(self.multipliers),
            "num_res_blocks": list(self.layers),
            "transformer_depth": depths,
            "transformer_depth_middle": self.middle_depth,
            "context_dim": self.text_width,
            "use_linear_in_transformer": self.linear_projections,
            "use_spatial_transformer": True,
            "num_heads": HEADS,
            "legacy": False,
        }


class SparseControlNet(comfy.cldm.cldm.ControlNet):
    """The network of SparseCtrl, from the host's ControlNet; `add_motion` puts its motion modules in.

    The host's own `forward` hands no options to the blocks, so that layer patches cannot act there.
    """

    def __init__(self, config: SparseControlConfig, dtype: torch.dtype, device="meta"):
        operations = comfy.ops.manual_cast
        hints = config.hint_channels
        super().__init__(**config.unet, hint_channels=hints, operations=operations, dtype=dtype, device=device)
        self.config = config
        self.motion: MotionModules | None = None
        self.sites: dict[str, Site] = encoder_sites(self)
        if config.takes_latents:
            embedding = operations.conv_nd(2, hints, config.channels, 3, padding=1, dtype=dtype, device=device)
            self.input_hint_block = TimestepEmbedSequential(embedding)

    def add_motion(self, motion: MotionModules) -> None:
        self.motion = motion

    def forward(self, x, hint, timesteps, context, motion: MotionInputs, **_):
        """Return what the host adds to the skip connections and to the middle of the UNet.

        `x` is the noisy latent, `[chunks * frames, 4, height, width]`, of which only the size
        counts. `hint` is `[chunks * frames, hint_channels, ...]`, at the size of the latent or, for
        scribbles, of the picture.
        """
        assert self.motion is not None
        steps = timestep_embedding(timesteps, self.model_channels, repeat_only=False).to(hint.dtype)
        emb = self.time_embed(steps)
        options = module_options(self.sites, self.motion.by_site, motion)
        h = torch.zeros_like(x)
        skips = []
        for number, (block, zero_conv) in enumerate(zip(self.input_blocks, self.zero_convs, strict=True)):
            h = block(h, emb, context, options | {"block": ("input", number)})
            if number == 0:
                h = h + self.input_hint_block(hint, emb, context)
            skips.append(zero_conv(h, emb, context))
        h = self.middle_block(h, emb, context, options | {"block": ("middle", 0)})
        return {"middle": [self.middle_block_out(h, emb, context)], "output": skips}
