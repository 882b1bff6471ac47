"""Optional stage after the autoencoder: train the decoder alone, for sharper pictures of the same latents."""

from pathlib import Path

import torch

from .architecture import build_autoencoder
from .start_weights import DECODER, autoencoder_weights
from .trainer import Plan, Trainer, copy_into
from .vae_stage import train_autoencoder

PLAN = Plan(steps=3000, batch=8, rate=1e-3, average=0.995, seed=20230705, report_every=250)


def train(folder: Path, plan: Plan) -> None:
    torch.manual_seed(plan.seed)
    vae = build_autoencoder()
    copy_into(dict(vae.named_parameters()), autoencoder_weights(folder))
    vae.encoder.requires_grad_(False)
    vae.quant_conv.requires_grad_(False)
    train_autoencoder(vae, Trainer(vae, plan, folder / DECODER), folder)
