"""Stage 2: encode clips to latents in one file, so that later stages need not draw or encode pictures."""

import math
import random
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from comfy.ldm.models.autoencoder import AutoencoderKL
from tqdm import tqdm

from .architecture import LATENT_SCALE, build_autoencoder
from .start_weights import DECODER, autoencoder_weights, has_autoencoder
from .trainer import Plan, copy_into, load_averages
from .vae_stage import draw_random_pictures
from .world import FRAMES, UNIT, Scene, draw_frames, scenes

PLAN = Plan(steps=100, batch=16, rate=0.0)
FILE = "latents.pt"
SECONDS_PER_CLIP = 0.225  # of 64 px, on one core


@torch.no_grad()
def train(folder: Path, plan: Plan) -> None:
    """Write `steps` times `batch` clips."""
    folder.mkdir(parents=True, exist_ok=True)
    vae = load_trained_autoencoder(folder)
    generator = random.Random(plan.seed + 2)
    chosen = list(islice(scenes(generator), plan.steps * plan.batch))
    latents = []
    for start in tqdm(range(0, len(chosen), plan.batch), desc="latents", mininterval=10):
        clips = chosen[start : start + plan.batch]
        pictures = draw_frames([(scene, float(frame)) for scene in clips for frame in range(FRAMES)], plan.size)
        latents.append(encode(vae, pictures).unflatten(0, (len(clips), FRAMES)).half())
    clips = {"latents": torch.cat(latents), "scenes": [asdict(scene) for scene in chosen], "encoder": _identify(vae)}
    torch.save(clips, folder / FILE)
    print(f"{len(chosen)} clips, deviation {clips['latents'].float().std():.3f}")


@dataclass(frozen=True)
class Clips:
    """Encoded clips: `latents` `[n, frames, 4, height, width]`, and the scene of each."""

    latents: torch.Tensor
    scenes: list[Scene]


def prepare_clips(folder: Path, plan: Plan) -> Clips:
    """Return the clips in `folder`.

    Encode them first when there are none, or when they are too few for `plan`, of another size, or
    from another autoencoder.
    """
    count = min(plan.steps * plan.batch, PLAN.steps * PLAN.batch)
    if not _fits(folder, count, plan.size):
        batch = min(count, PLAN.batch)
        minutes = math.ceil(count * SECONDS_PER_CLIP * (plan.size / UNIT) ** 2 / 60)
        print(f"Encoding {count} clips, once for {folder}: about {minutes} min on a CPU.", flush=True)
        train(folder, replace(PLAN, steps=-(-count // batch), batch=batch, size=plan.size))
    stored = _load(folder)
    return Clips(stored["latents"], [Scene(**fields) for fields in stored["scenes"]])


def _fits(folder: Path, count: int, size: int) -> bool:
    if not (folder / FILE).exists():
        return False
    stored, vae = _load(folder), load_trained_autoencoder(folder)
    latents, encoder = stored["latents"], stored.get("encoder", _identify(vae))
    same_encoder = torch.allclose(encoder, _identify(vae), rtol=0, atol=1e-3)
    return len(latents) >= count and 8 * latents.shape[-1] == size and same_encoder


def _load(folder: Path) -> dict[str, Any]:
    return torch.load(folder / FILE, map_location=torch.get_default_device(), weights_only=True)


def _identify(vae: AutoencoderKL) -> torch.Tensor:
    """Return the weights of the last layer of the encoder, which differ for every autoencoder."""
    return torch.cat([value.detach().flatten() for value in vae.quant_conv.parameters()])


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
    weights = autoencoder_weights(folder)
    if (folder / DECODER).exists():
        weights |= load_averages(folder / DECODER)
    copy_into(dict(vae.named_parameters()), weights)
    if not has_autoencoder(folder):
        return vae
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
