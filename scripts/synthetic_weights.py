"""Write checkpoints of random weights that load like real ones, with the shapes of the host's own classes.

Their videos are noise. They let the demo and the tests run without a download. The narrow kinds
have 320 channels at every level and a tiny autoencoder, so that a whole sampling run takes seconds
on a CPU.
"""

import argparse
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))  # the Python of ComfyUI's portable build leaves it out

import torch
from host.in_process import put_host_on_path
from safetensors.torch import save_file
from synthetic_motion import LAYOUTS, SD15_WIDTHS, SDXL_WIDTHS, motion_model_state_dict, random_tensor

SEED = 20230704
Weights = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Kind:
    base: str
    multipliers: tuple[int, ...]
    tiny_vae: bool

    @property
    def widths(self) -> tuple[int, ...]:
        return tuple(320 * multiplier for multiplier in self.multipliers)


KINDS = {
    "sd15": Kind("SD15", tuple(width // 320 for width in SD15_WIDTHS), tiny_vae=False),
    "sd15_narrow": Kind("SD15", (1, 1, 1, 1), tiny_vae=True),
    "sdxl_narrow": Kind("SDXL", (1,) * len(SDXL_WIDTHS), tiny_vae=True),
}


def make_checkpoint(kind: Kind, tree: Path) -> Weights:
    """Make a whole checkpoint in float16, with the published keys: UNet, text encoder and autoencoder."""
    put_host_on_path(tree)
    from comfy.cli_args import args

    args.cpu = True
    import comfy.supported_models

    config = getattr(comfy.supported_models, kind.base)(unet_config(kind))
    config.set_inference_dtype(torch.float16, None)
    unet = config.get_model({}, device="meta").diffusion_model.state_dict()
    shapes = {f"model.diffusion_model.{name}": tensor for name, tensor in unet.items()}
    shapes |= config.process_clip_state_dict_for_saving(_text_encoder(kind.base).state_dict())
    shapes |= {f"first_stage_model.{name}": tensor for name, tensor in _autoencoder(kind.tiny_vae).items()}
    return {name: _fill(name, tensor) for name, tensor in shapes.items()}


def make_motion_model(kind: Kind) -> Weights:
    """Make a motion model for the same widths, in the layout of AnimateDiff v3 or of its SDXL beta."""
    layout: dict[str, Any] = LAYOUTS["v3" if kind.base == "SD15" else "sdxl"]
    return motion_model_state_dict(kind.widths, seed=SEED, dtype=torch.float16, **layout)


def write_once(file: Path, make: Callable[[], Weights]) -> None:
    """Write a safetensors file unless it exists. A half-written file never gets its name."""
    if not file.exists():
        print(f"Making {file.name} ...", flush=True)
        file.parent.mkdir(parents=True, exist_ok=True)
        unfinished = file.with_suffix(f".{os.getpid()}.unfinished")
        try:
            save_file(make(), unfinished)
            unfinished.replace(file)
        finally:
            unfinished.unlink(missing_ok=True)


def unet_config(kind: Kind) -> dict[str, Any]:
    common = {"image_size": 32, "in_channels": 4, "out_channels": 4, "model_channels": 320, "legacy": False}
    common |= {"use_spatial_transformer": True, "use_temporal_attention": False, "use_temporal_resblock": False}
    common |= {"channel_mult": list(kind.multipliers), "num_res_blocks": [2] * len(kind.multipliers)}
    if kind.base == "SD15":
        depths = {"transformer_depth": [1] * 6 + [0] * 2, "transformer_depth_output": [1] * 9 + [0] * 3}
        shape = {"context_dim": 768, "use_linear_in_transformer": False, "adm_in_channels": None, "num_heads": 8}
        return common | depths | shape | {"transformer_depth_middle": 1}
    depths = {"transformer_depth": [0, 0, 2, 2, 10, 10], "transformer_depth_output": [0, 0, 0, 2, 2, 2, 10, 10, 10]}
    shape = {"context_dim": 2048, "use_linear_in_transformer": True, "adm_in_channels": 2816, "num_head_channels": 64}
    return common | depths | shape | {"transformer_depth_middle": 10, "num_classes": "sequential"}


def _text_encoder(base: str) -> torch.nn.Module:
    import comfy.sd1_clip
    import comfy.sdxl_clip

    model = comfy.sd1_clip.SD1ClipModel if base == "SD15" else comfy.sdxl_clip.SDXLClipModel
    return model(device="meta", dtype=torch.float16)


def _autoencoder(tiny: bool) -> Weights:
    import comfy.ldm.models.autoencoder
    import comfy.taesd.taesd

    with torch.device("meta"):
        if tiny:
            return comfy.taesd.taesd.TAESD().state_dict()
        shape = {"double_z": True, "z_channels": 4, "resolution": 256, "in_channels": 3, "out_ch": 3, "ch": 128}
        shape |= {"ch_mult": [1, 2, 4, 4], "num_res_blocks": 2, "attn_resolutions": [], "dropout": 0.0}
        return comfy.ldm.models.autoencoder.AutoencoderKL(ddconfig=shape, embed_dim=4).state_dict()


def _fill(name: str, tensor: torch.Tensor) -> torch.Tensor:
    if tensor.dim() == 0:
        return torch.tensor(0.0 if name.endswith("shift") else 0.18215)
    if not tensor.is_meta:
        return tensor.contiguous()
    weights = random_tensor(name, tensor.shape, SEED, torch.float16)
    return _scale_to_images(name, weights) if "taesd" in name else weights


def _scale_to_images(name: str, weights: torch.Tensor) -> torch.Tensor:
    """Scale weights of the tiny autoencoder, which has no normalisation, so that pictures stay between 0 and 1."""
    if weights.shape == (3,):
        return weights + 0.5
    if weights.shape[0] == 3:
        return weights * 4.0
    return weights * (0.8 if ".conv." in name else 1.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("--host", type=Path, required=True, help="folder of the ComfyUI whose classes set the shapes")
    parser.add_argument("--checkpoint", type=Path, required=True, help="checkpoint file to write")
    parser.add_argument("--motion-model", type=Path, required=True, help="motion model file to write")
    options = parser.parse_args()
    kind = KINDS[options.kind]
    write_once(options.motion_model, lambda: make_motion_model(kind))
    write_once(options.checkpoint, lambda: make_checkpoint(kind, options.host))


if __name__ == "__main__":
    main()
