"""Stage 4: train only the motion modules, on clips, with everything else frozen (Guo et al. 2023, section 4.2).

The modules are the pack's own, at the sites that the pack finds in the host's UNet.
"""

import math
import random
from pathlib import Path
from typing import Any

import torch
from host.in_process import pack
from torch import nn

from .captions import caption, plain_caption
from .diffusion import MOTION_SCHEDULE, Prompts, Schedule, high_timesteps, sample
from .grids import save_grid
from .image_stage import DROPPED_CAPTIONS, ImageModel, load_earlier_image_model
from .latents_stage import decode, load_trained_autoencoder, prepare_clips
from .measures import ClipReading, read_clip
from .scores import format_shares, score_clips
from .start_weights import motion_weights
from .trainer import Plan, Tensors, Trainer, copy_into
from .world import FRAMES, UNIT, Combination, choose_combinations

PLAN = Plan(steps=2500, batch=4, rate=1e-3, warm_up=100, average=0.998, report_every=500)
POSITIONS = 32
SEEN_OF_EACH, SEEN_STEPS = 1, 12
SECONDS_PER_CLIP = 0.375  # of 64 px, forwards and backwards, in float32 on one core


def motion_sites(unet: Any, plan: Plan) -> dict[str, Any]:
    """Return the specs of the modules to train for `unet`, in AnimateDiff's v3 layout: none in the mid block."""
    architecture = pack("motion_modules.architectures.registry").architectures()[plan.architecture]
    fresh = pack("motion_modules.files.untrained")
    clip = fresh.TargetClip(FRAMES, plan.size, plan.size, POSITIONS)
    sites = [name for name in pack("motion_modules.unet.sites").unet_sites(unet) if not name.startswith("mid_block")]
    return fresh.plan_modules(unet, architecture, clip, sites)


def build_motion_modules(unet: Any, plan: Plan = PLAN) -> Any:
    """Build untrained motion modules for `unet`, which change nothing until they are trained."""
    return pack("motion_modules.files.untrained").create_modules(motion_sites(unet, plan), plan.seed)


def checkpoint_file(folder: Path, plan: Plan) -> Path:
    return folder / f"{_name(plan)}.pt"


def exported_name(plan: Plan) -> str:
    """Return the name of the file that Load Motion Model loads."""
    return f"loom_mini_{'motion' if plan.architecture == PLAN.architecture else plan.architecture}.safetensors"


def _name(plan: Plan) -> str:
    return "motion" if plan.architecture == PLAN.architecture else f"motion_{plan.architecture}"


class VideoModel(nn.Module):
    """Frozen image model with motion modules after its layers; `[clips * frames, 4, h, w]` in and out."""

    def __init__(self, image: ImageModel, motion: Any, frames: int = FRAMES, checkpointing: bool = False):
        super().__init__()
        self.image, self.motion = image, motion
        sites = pack("motion_modules.unet.sites").unet_sites(image.unet)
        sites = {name: sites[name] for name in motion.by_site}
        inputs = pack("motion_modules.contract").MotionInputs(frames)
        self.options = pack("training.bare_unet").bare_options(sites, motion.by_site, inputs, checkpointing)

    def forward(self, latents: torch.Tensor, t: torch.Tensor, context: torch.Tensor) -> torch.Tensor:
        return self.image(latents, t, context, self.options)


def train(folder: Path, plan: Plan) -> None:
    torch.manual_seed(plan.seed)
    model = video_model(folder, plan)
    prompts, schedule, clips = Prompts(model.image.text), Schedule(MOTION_SCHEDULE), prepare_clips(folder, plan)
    trainer = Trainer(model.motion, plan, checkpoint_file(folder, plan))
    print(describe_length(plan, trainer.step), flush=True)

    def loss(generator: random.Random) -> torch.Tensor:
        chosen = [generator.randrange(len(clips.scenes)) for _ in range(plan.batch)]
        texts = [caption(clips.scenes[number], generator) for number in chosen]
        texts = ["" if generator.random() < DROPPED_CAPTIONS else text for text in texts]
        with torch.no_grad():
            context = prompts.features(texts)
        return clip_noise_error(model, schedule, clips.latents[chosen].float(), context)

    def report(averages: Tensors) -> str:
        return save_samples(folder, averages, trainer.step, plan)

    trainer.train(loss, report)


def describe_length(plan: Plan, done: int) -> str:
    """Return how long the rest of a plan takes, and how to stop."""
    steps = max(plan.steps - done, 0)
    minutes = math.ceil(steps * plan.batch * SECONDS_PER_CLIP * (plan.size / UNIT) ** 2 / 60)
    return (
        f"Training {plan.architecture}: {steps} steps, about {minutes} min on a CPU. A checkpoint is saved every "
        f"{plan.save_every} steps; after Ctrl-C, the same command continues from it."
    )


def video_model(folder: Path, plan: Plan) -> VideoModel:
    image = load_earlier_image_model(folder)
    return VideoModel(image, build_motion_modules(image.unet, plan), checkpointing=plan.checkpointing)


def copy_trained_weights(motion: Any, folder: Path, plan: Plan) -> None:
    """Copy the trained or shipped weights of the plan's architecture into motion modules."""
    weights = motion_weights(checkpoint_file(folder, plan), exported_name(plan))
    copy_into(dict(motion.named_parameters()), weights)


def clip_noise_error(model: VideoModel, schedule: Schedule, clean: torch.Tensor, context: torch.Tensor) -> torch.Tensor:
    """Return the error of the predicted noise, with one timestep per clip and separate noise per frame."""
    frames = clean.shape[1]
    t = high_timesteps(len(clean)).repeat_interleave(frames)
    clean = clean.flatten(0, 1)
    noise = torch.randn_like(clean)
    predicted = model(schedule.noisy(clean, noise, t), t, context.repeat_interleave(frames, 0))
    return schedule.error(predicted, noise, t)


@torch.no_grad()
def save_samples(folder: Path, averages: Tensors, step: int, plan: Plan) -> str:
    """Save a sheet with one strip per motion, trained combinations first; return the scores of both kinds."""
    model = video_model(folder, plan).requires_grad_(False)
    copy_into(dict(model.motion.named_parameters()), averages)
    torch.manual_seed(step)
    asked = [choose_combinations(held_out, SEEN_OF_EACH) for held_out in (False, True)]
    clips = film(model, folder, asked[0] + asked[1], min(SEEN_STEPS, plan.steps), plan.size)
    save_grid(folder / f"{_name(plan)}_{step:05}.png", clips.flatten(0, 1), columns=FRAMES)
    readings = [read_clip(clip) for clip in clips]
    half = len(asked[0])
    return f"trained {summarise(readings[:half], asked[0])}; held out {summarise(readings[half:], asked[1])}"


def film(model: VideoModel, folder: Path, asked: list[Combination], steps: int, size: int) -> torch.Tensor:
    """Sample one clip per combination, `[n, FRAMES, 3, size, size]`."""
    return film_captions(model, folder, [plain_caption(*combination) for combination in asked], steps, size)


@torch.no_grad()
def film_captions(model: VideoModel, folder: Path, captions: list[str], steps: int, size: int) -> torch.Tensor:
    """Sample one clip per caption, `[n, FRAMES, 3, size, size]`, a few at a time to save memory."""
    vae, prompts = load_trained_autoencoder(folder), Prompts(model.image.text)
    empty = prompts.features([""])
    clips = []
    for start in range(0, len(captions), 4):
        context = prompts.features(captions[start : start + 4]).repeat_interleave(FRAMES, 0)
        noise = torch.randn(len(context), 4, size // 8, size // 8)
        empties = empty.expand_as(context)
        latents = sample(model, Schedule(MOTION_SCHEDULE), noise, context, empties, steps=steps)
        clips.append(decode(vae, latents).unflatten(0, (-1, FRAMES)))
    return torch.cat(clips)


def summarise(readings: list[ClipReading], asked: list[Combination]) -> str:
    """Return the shares of correct clips, and the mean step of the object between frames in pixels."""
    mean_step = sum(reading.mean_step for reading in readings) / len(readings)
    return f"{format_shares(score_clips(readings, asked))}, mean step {mean_step:.2f} px"
