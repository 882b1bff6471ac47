"""Stage 2: encode clips to latents in one file, so that later stages need not draw or encode pictures."""

import random
from dataclasses import asdict
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from comfy.ldm.models.autoencoder import AutoencoderKL
from tqdm import tqdm

from .architecture import LATENT_SCALE, build_autoencoder
from .trainer import Plan, copy_into, load_averages
from .vae_stage import draw_random_pictures
from .world import FRAMES, UNIT, Scene, draw_frames, scenes

PLAN = Plan(steps=100, batch=16, rate=0.0)
FILE = "latents.pt"


@torch.no_grad()
def train(folder: Path, plan: Plan) -> None:
    """Write `steps` times `batch` clips."""
    vae = load_trained_autoencoder(folder)
    generator = random.Random(plan.seed + 2)
    chosen = list(islice(scenes(generator), plan.steps * plan.batch))
    latents = []
    for start in tqdm(range(0, len(chosen), plan.batch), desc="latents", mininterval=10):
        clips = chosen[start : start + plan.batch]
        pictures = draw_frames([(scene, float(frame)) for scene in clips for frame in range(FRAMES)], plan.size)
        latents.append(encode(vae, pictures).unflatten(0, (len(clips), FRAMES)).half())
    torch.save({"latents": torch.cat(latents), "scenes": [asdict(scene) for scene in chosen]}, folder / FILE)
    print(f"{len(chosen)} clips, deviation {torch.cat(latents).float().std():.3f}")


class Clips:
    """The clips of a latents file: `latents[n, frames, 4, height, width]` and the scene of each."""

    def __init__(self, folder: Path):
        stored = torch.load(folder / FILE, map_location=torch.get_default_device(), weights_only=True)
        self.latents, self.scenes = stored["latents"], [Scene(**fields) for fields in stored["scenes"]]


def encode(vae: AutoencoderKL, pictures: torch.Tensor) -> torch.Tensor:
    """Encode pictures in 0 to 1 to latents as the UNet sees them."""
    return vae.quant_conv(vae.encoder(pictures * 2 - 1))[:, :4] * LATENT_SCALE


def decode(vae: AutoencoderKL, latents: torch.Tensor) -> torch.Tensor:
    parts = [vae.decoder(vae.post_quant_conv(part / LATENT_SCALE)) for part in latents.split(64)]
    return (torch.cat(parts) / 2 + 0.5).clamp(0, 1)


@lru_cache
@torch.no_grad()
def load_trained_autoencoder(folder: Path) -> AutoencoderKL:
    """Load the autoencoder with latents of mean 0 and deviation 1 in every channel; cached per process."""
    vae = build_autoencoder().requires_grad_(False)
    weights = load_averages(folder / "vae.pt")
    if (folder / "decoder.pt").exists():
        weights |= load_averages(folder / "decoder.pt")
    copy_into(dict(vae.named_parameters()), weights)
    pictures = draw_random_pictures(random.Random(0), 512, int(UNIT)).float() / 255
    latents = torch.cat([encode(vae, part) for part in pictures.split(64)])
    whiten(vae, latents.transpose(0, 1).flatten(1))
    return vae


def whiten(vae: Any, latents: torch.Tensor) -> None:
    """Fold a change of basis into the last layer of the encoder, and its inverse into the first of the decoder.

    Latents like `latents` `[4, n]` then have uncorrelated channels of mean 0 and deviation 1.
    Without this, all four channels would show brightness and little of the shape.
    """
    mean, (variance, basis) = latents.mean(1) / LATENT_SCALE, torch.linalg.eigh(torch.cov(latents))
    quant, post_quant = vae.quant_conv, vae.post_quant_conv
    whitening, colouring = (basis * variance**power @ basis.T for power in (-0.5, 0.5))
    post_quant.bias += post_quant.weight[:, :, 0, 0] @ mean
    post_quant.weight.copy_((post_quant.weight[:, :, 0, 0] @ colouring)[:, :, None, None])
    quant.bias[:4] = whitening @ (quant.bias[:4] - mean)
    quant.weight[:4] = (whitening @ quant.weight[:4, :, 0, 0])[:, :, None, None]
