"""Stage 3: train UNet and text encoder on single frames.

They learn what a word looks like, but no motion.
"""

import random
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from .architecture import TEXT_WIDTH, build_model, build_text_encoder
from .captions import caption, plain_caption
from .diffusion import IMAGE_SCHEDULE, TIMESTEPS, Prompts, Schedule, sample
from .grids import save_grid
from .latents_stage import decode, load_trained_autoencoder, prepare_clips
from .measures import read_frame
from .scores import format_shares, score_frames
from .start_weights import IMAGE, image_weights
from .trainer import Plan, Tensors, Trainer, copy_into, initialise
from .world import COLOURS, FRAMES, MOTIONS, SHAPES, Scene, choose_combinations

PLAN = Plan(steps=4800, batch=32, rate=8e-4, warm_up=150, average=0.996, report_every=500)
DROPPED_CAPTIONS = 0.1
NAMING_WEIGHT = 0.1
SHEET_STEPS = 20
ZERO = ("out_layers.3", "proj_out", "diffusion_model.out.2")


class ImageModel(nn.Module):
    """Networks that this stage trains, and a probe that reads the scene from the text features."""

    def __init__(self):
        super().__init__()
        self.unet: Any = build_model().diffusion_model.requires_grad_(True)
        self.text: Any = build_text_encoder().requires_grad_(True)
        self.probe = nn.Linear(TEXT_WIDTH, len(SHAPES) + len(COLOURS) + len(MOTIONS))
        self.text.clip_l.transformer.text_projection.requires_grad_(False)
        self.text.clip_l.logit_scale.requires_grad_(False)

    def forward(
        self, latents: torch.Tensor, t: torch.Tensor, context: torch.Tensor, options: dict | None = None
    ) -> torch.Tensor:
        return self.unet(latents, t, context=context, transformer_options=dict(options or {}))


def train(folder: Path, plan: Plan) -> None:
    torch.manual_seed(plan.seed)
    model = ImageModel()
    initialise(model, ZERO)
    prompts, schedule, clips = Prompts(model.text), Schedule(IMAGE_SCHEDULE), prepare_clips(folder, plan)
    trainer = Trainer(model, plan, folder / IMAGE)

    def loss(generator: random.Random) -> torch.Tensor:
        chosen = [generator.randrange(len(clips.scenes)) for _ in range(plan.batch)]
        frames = [generator.randrange(FRAMES) for _ in chosen]
        shown = [clips.scenes[number] for number in chosen]
        context = prompts.features([caption(scene, generator) for scene in shown])
        naming = naming_error(model.probe(context.mean(1)), shown)
        dropped = torch.tensor([generator.random() < DROPPED_CAPTIONS for _ in shown])
        context = torch.where(dropped[:, None, None], prompts.features([""]), context)
        clean = clips.latents[chosen, frames].float()
        return frame_noise_error(model, schedule, clean, context) + NAMING_WEIGHT * naming

    def report(averages: Tensors) -> str:
        return save_samples(folder, averages, trainer.step, plan)

    trainer.train(loss, report)


def frame_noise_error(
    model: ImageModel, schedule: Schedule, clean: torch.Tensor, context: torch.Tensor
) -> torch.Tensor:
    """Return the error of the predicted noise, at random timesteps."""
    t, noise = torch.randint(TIMESTEPS, (len(clean),)), torch.randn_like(clean)
    return schedule.error(model(schedule.noisy(clean, noise, t), t, context), noise, t)


def naming_error(answers: torch.Tensor, shown: list[Scene]) -> torch.Tensor:
    """Return the cross entropy of the probe, which teaches the encoder what CLIP's encoder already knows.

    Without it, colours are learned at once, but shapes and cues, which change few pixels, take over
    a thousand steps.
    """
    groups = answers.split([len(SHAPES), len(COLOURS), len(MOTIONS)], dim=1)
    names = (("shape", SHAPES), ("colour", tuple(COLOURS)), ("motion", MOTIONS))
    targets = [[known.index(getattr(scene, field)) for scene in shown] for field, known in names]
    errors = [F.cross_entropy(group, torch.tensor(index)) for group, index in zip(groups, targets, strict=True)]
    return torch.stack(errors).sum()


def load_image_model(weights: Tensors) -> ImageModel:
    model = ImageModel().requires_grad_(False)
    initialise(model)
    copy_into({name: value for name, value in model.named_parameters() if name in weights}, weights)
    return model


def load_earlier_image_model(folder: Path) -> ImageModel:
    """Load the image model that `folder` has, or the shipped one."""
    return load_image_model(image_weights(folder))


@torch.no_grad()
def save_samples(folder: Path, averages: Tensors, step: int, plan: Plan) -> str:
    """Save a sheet of samples, one motion per column; return the shares of samples that match their prompt."""
    model, vae = load_image_model(averages), load_trained_autoencoder(folder)
    asked = [combination for held_out in (False, True) for combination in choose_combinations(held_out, 4)]
    torch.manual_seed(step)
    prompts = Prompts(model.text)
    context = prompts.features([plain_caption(*combination) for combination in asked])
    empty = prompts.features([""]).expand_as(context)
    noise = torch.randn(len(asked), 4, plan.size // 8, plan.size // 8)
    steps = min(SHEET_STEPS, plan.steps)
    pictures = decode(vae, sample(model, Schedule(IMAGE_SCHEDULE), noise, context, empty, steps=steps))
    save_grid(folder / f"image_{step:05}.png", pictures, columns=len(MOTIONS))
    half, readings = len(asked) // 2, [read_frame(picture) for picture in pictures]
    trained, held_out = (score_frames(readings[part], asked[part]) for part in (slice(half), slice(half, None)))
    return f"trained {format_shares(trained)}; held out {format_shares(held_out)}"
