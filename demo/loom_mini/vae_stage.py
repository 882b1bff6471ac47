"""Stage 1: train the autoencoder on pictures of the world."""

import random
from itertools import islice
from pathlib import Path

import torch
from comfy.ldm.models.autoencoder import AutoencoderKL

from .architecture import build_autoencoder
from .grids import save_grid
from .start_weights import AUTOENCODER
from .trainer import Plan, Tensors, Trainer, copy_into, initialise
from .world import FRAMES, draw_frames, scenes

PLAN = Plan(steps=3300, batch=8, rate=2e-3, average=0.99, report_every=200)
PICTURES = 4096
KL_WEIGHT, COLOUR_WEIGHT = 1e-6, 4.0


def train(folder: Path, plan: Plan) -> None:
    torch.manual_seed(plan.seed)
    vae = build_autoencoder()
    initialise(vae, zero=("conv2", "proj_out"))
    train_autoencoder(vae, Trainer(vae, plan, folder / AUTOENCODER), folder)


def train_autoencoder(vae: AutoencoderKL, trainer: Trainer, folder: Path) -> None:
    """Train the part of `vae` that `trainer` holds, and report on pictures that it was not trained on."""
    plan = trainer.plan
    pictures = draw_random_pictures(random.Random(plan.seed), PICTURES, plan.size)
    unseen = draw_random_pictures(random.Random(plan.seed + 1), 64, plan.size, held_out=True).float() / 255

    def loss(generator: random.Random) -> torch.Tensor:
        chosen = [generator.randrange(len(pictures)) for _ in range(plan.batch)]
        return reconstruction_loss(vae, pictures[chosen].float() / 127.5 - 1)

    def report(averages: Tensors) -> str:
        reconstructed = reconstruct(vae, averages, unseen)
        sheet = folder / f"{trainer.file.stem}_{trainer.step:05}.png"
        save_grid(sheet, torch.cat([unseen[:16], reconstructed[:16]]), columns=16)
        difference = reconstructed - unseen
        error = difference.square().mean((1, 2, 3))
        return f"L1 {difference.abs().mean():.4f}, PSNR {(-10 * error.log10()).mean():.1f} dB on unseen pictures"

    trainer.train(loss, report)


def draw_random_pictures(generator: random.Random, count: int, size: int, held_out: bool = False) -> torch.Tensor:
    """Draw random frames of random scenes, `[count, 3, size, size]` in 0 to 255."""
    chosen = islice(scenes(generator, held_out), count)
    scene_frames = [(scene, float(generator.randrange(FRAMES))) for scene in chosen]
    parts = [draw_frames(scene_frames[start : start + 256], size) for start in range(0, count, 256)]
    return (torch.cat(parts) * 255).round().to(torch.uint8)


def reconstruction_loss(vae: AutoencoderKL, pictures: torch.Tensor) -> torch.Tensor:
    """Return absolute and squared error, weighted by colour, plus a little Kullback-Leibler divergence."""
    mean, log_variance = vae.quant_conv(vae.encoder(pictures)).chunk(2, dim=1)
    log_variance = log_variance.clamp(-30, 20)
    latents = mean + torch.exp(0.5 * log_variance) * torch.randn_like(mean)
    difference = vae.decoder(vae.post_quant_conv(latents)) - pictures
    weight = 1 + COLOUR_WEIGHT * (pictures.amax(1, keepdim=True) - pictures.amin(1, keepdim=True)) / 2
    divergence = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum((1, 2, 3)).mean()
    return (weight * (difference.abs() + difference.square())).mean() + KL_WEIGHT * divergence


@torch.no_grad()
def reconstruct(vae: AutoencoderKL, averages: Tensors, pictures: torch.Tensor) -> torch.Tensor:
    """Encode and decode pictures in 0 to 1 with the averaged weights."""
    copy = build_autoencoder()
    copy_into(dict(copy.named_parameters()), dict(vae.named_parameters()) | averages)
    mean = copy.quant_conv(copy.encoder(pictures * 2 - 1))[:, :4]
    return (copy.decoder(copy.post_quant_conv(mean)) / 2 + 0.5).clamp(0, 1)
