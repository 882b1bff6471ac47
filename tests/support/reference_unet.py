"""diffusers' UNetMotionModel with the weights of a host UNet and of a motion model file.

Its motion modules normalise over all frames for every checkpoint; `correct_norms` puts that right
per family.
"""

import comfy.utils
import torch
from diffusers import MotionAdapter, UNet2DConditionModel, UNetMotionModel
from torch import nn

from tests.support.host import CONTEXT_WIDTH, unet_config
from tests.support.motion_files import TINY_WIDTHS, Expected, Tensors, as_diffusers

HEIGHT = WIDTH = 64
SDXL_TIME_IDS = [HEIGHT, WIDTH, 0, 0, HEIGHT, WIDTH]

_SHAPES = {
    "SD1.5": {
        "down_block_types": ("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",),
        "up_block_types": ("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3,
        "attention_head_dim": 8,
    },
    "SDXL": {
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        "attention_head_dim": (4, 8, 16),
        "transformer_layers_per_block": (1, 2, 4),
        "use_linear_projection": True,
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": 256,
        "projection_class_embeddings_input_dim": 2816,
    },
}


class PerFrameNorm(nn.GroupNorm):
    """For `[videos, channels, frames, h, w]`: the statistics of each frame alone."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.stack([super(PerFrameNorm, self).forward(frame) for frame in x.unbind(2)], dim=2)


class JointNorm(nn.GroupNorm):
    """For `[videos * frames, channels, h, w]`: the statistics of each video as a whole."""

    frames = 1

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        videos = [torch.stack(list(video), dim=1) for video in x.split(self.frames)]
        return torch.cat([super(JointNorm, self).forward(video[None])[0].transpose(0, 1) for video in videos])


def reference_unet(model, expected: Expected, motion: Tensors, frames: int) -> UNetMotionModel:
    """The reference with the weights of the host's `model` and of `motion`, in the dtype of `model`."""
    widths = TINY_WIDTHS[expected.base]
    spatial = _spatial_weights(model, expected.base)
    adapter = MotionAdapter(
        block_out_channels=widths,
        motion_max_seq_length=expected.positions,
        use_motion_mid_block=expected.mid,
        conv_in_channels=motion["conv_in.weight"].shape[1] if "conv_in.weight" in motion else None,
    )
    missing, unexpected = adapter.load_state_dict(as_diffusers(motion), strict=False)
    assert not unexpected and all(name.endswith("pos_embed.pe") for name in missing)
    unet2d = UNet2DConditionModel(
        block_out_channels=widths, cross_attention_dim=CONTEXT_WIDTH, sample_size=8, **_SHAPES[expected.base]
    )
    unet2d.load_state_dict(spatial, strict=True)
    unet = UNetMotionModel.from_unet2d(unet2d, adapter)
    if expected.base == "SDXL":
        unet.add_embedding.load_state_dict(unet2d.add_embedding.state_dict())
    correct_norms(unet, expected, frames)
    return unet.to(model.model.get_dtype()).requires_grad_(False).eval()


def correct_norms(unet: UNetMotionModel, expected: Expected, frames: int) -> None:
    """Which normalisations see all frames, as the family's own reference implementation has it."""
    for name, norm in unet.named_modules():
        if not isinstance(norm, nn.GroupNorm):
            continue
        if "motion_modules" in name and not expected.joint_module_norm:
            norm.__class__ = PerFrameNorm
        elif ("resnets" in name or name == "conv_norm_out") and expected.joint_unet_norm:
            norm.__class__, norm.frames = JointNorm, frames


def evaluate_reference(
    unet: UNetMotionModel, call: dict, frames: int, concat: torch.Tensor | None = None
) -> torch.Tensor:
    """The reference's output for what the host's UNet received in `call`, in the host's layout.

    `concat` has channels that the reference receives besides, `[videos * frames, channels, h, w]`.
    """
    x = call["x"] if concat is None else torch.cat((call["x"], concat), dim=1)
    x = x.unflatten(0, (-1, frames)).transpose(1, 2)
    added = None
    if call["y"] is not None:
        time_ids = torch.tensor([SDXL_TIME_IDS] * len(x))
        added = {"text_embeds": call["y"][::frames, :1280], "time_ids": time_ids}
    timesteps = call["timesteps"][::frames]
    output = unet(x, timesteps, call["context"], added_cond_kwargs=added).sample
    return output.transpose(1, 2).flatten(0, 1)


def _spatial_weights(model, base: str) -> Tensors:
    names = comfy.utils.unet_to_diffusers(unet_config(base))
    weights = model.model.diffusion_model.state_dict()
    renamed = {theirs: weights[ours] for theirs, ours in names.items() if ours in weights}
    return {name: tensor for name, tensor in renamed.items() if not name.startswith("class_embedding")}
