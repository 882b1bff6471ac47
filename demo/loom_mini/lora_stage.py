"""Train a motion LoRA for the shipped motion model: low-rank changes of its linear layers, all else frozen.

The clips are drawn: their objects follow the path of the LoRA (motion_paths.py), while the captions
name no motion, or say that the object stands still. A clip of negative strength, evaluated with the
negative LoRA, runs the path the other way, so that one set of weights learns both directions.
"""

import random
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from safetensors.torch import save_file

from .captions import GROUNDS, OPENINGS, WORDS, name_object
from .diffusion import MOTION_SCHEDULE, TIMESTEPS, Prompts, Schedule
from .image_stage import DROPPED_CAPTIONS
from .latents_stage import encode, load_trained_autoencoder
from .lora_evaluation import film_strengths, format_strengths, held_out_captions, save_sheet
from .lora_layers import checkpoint_file, copy_lora_weights, exported_name, lora_model
from .motion_paths import DESCRIPTIONS, SteeredScene, choose_scene
from .motion_stage import VideoModel
from .trainer import Plan, Tensors, Trainer, copy_into
from .world import draw_clip

PLAN = Plan(steps=350, batch=2, rate=4e-3, warm_up=15, weight_decay=0.0, report_every=100, save_every=25, lora="up")
CLIPS = 64
SHEET_CLIPS, SHEET_STEPS = 2, 8
STRENGTHS = (1.0, -1.0, 0.5, -0.5)  # of the drawn clips, in turn
LOWEST_TIMESTEP = 300  # below, a clip has its motion already
METADATA = {"format": "pt", "base_model": "Loom Mini", "motion_model": "loom_mini_motion.safetensors"}


@dataclass(frozen=True)
class SteeredClips:
    """Encoded clips `[n, frames, 4, height, width]` and their scenes, whose strengths are STRENGTHS in turn."""

    latents: torch.Tensor
    scenes: list[SteeredScene]

    def choose(self, generator: random.Random, count: int) -> list[int]:
        """Return `count` clips; of two in a row, one has a positive and one a negative strength."""
        groups = [[n for n, scene in enumerate(self.scenes) if scene.strength * sign > 0] for sign in (1, -1)]
        return [generator.choice(groups[number % 2]) for number in range(count)]


@torch.no_grad()
def draw_clips(folder: Path, plan: Plan) -> SteeredClips:
    generator, vae = random.Random(plan.seed), load_trained_autoencoder(folder)
    count = min(CLIPS, plan.steps * plan.batch)
    scenes = [choose_scene(generator, plan.lora, STRENGTHS[number % len(STRENGTHS)]) for number in range(count)]
    return SteeredClips(torch.stack([encode(vae, draw_clip(scene, plan.size)) for scene in scenes]), scenes)


def train(folder: Path, plan: Plan) -> None:
    torch.manual_seed(plan.seed)
    model, lora = lora_model(folder, plan)
    clips = draw_clips(folder, plan)
    prompts, schedule = Prompts(model.image.text), Schedule(MOTION_SCHEDULE)
    trainer, sampled = Trainer(lora, plan, checkpoint_file(folder, plan)), lora_model(folder, plan)

    def loss(generator: random.Random) -> torch.Tensor:
        chosen = clips.choose(generator, plan.batch)
        scenes = [clips.scenes[number] for number in chosen]
        with torch.no_grad():
            context = prompts.features([still_caption(scene, generator) for scene in scenes])
        lora.strength.value = torch.tensor([scene.strength for scene in scenes])
        return high_noise_error(model, schedule, clips.latents[chosen], context)

    def report(averages: Tensors) -> str:
        copy_into(dict(sampled[1].named_parameters()), averages)
        sheet = replace(plan, steps=min(SHEET_STEPS, plan.steps))
        clips_by_strength = film_strengths(*sampled, folder, held_out_captions()[:SHEET_CLIPS], sheet, trainer.step)
        save_sheet(folder / f"lora_{plan.lora}_{trainer.step:05}.png", clips_by_strength)
        return f"\n{format_strengths(clips_by_strength, plan.lora)}"

    trainer.train(loss, report)
    export(folder, plan)


def still_caption(scene: SteeredScene, generator: random.Random) -> str:
    """Return a caption that names no motion or says that the object stands still, and some that are empty."""
    if generator.random() < DROPPED_CAPTIONS:
        return ""
    words = generator.choice(("", f" {generator.choice(WORDS['still'])}"))
    ground = generator.choice(GROUNDS).format(scene.background)
    return f"{generator.choice(OPENINGS)}{name_object(scene)}{words}{ground}"


def high_noise_error(model: VideoModel, schedule: Schedule, clean: torch.Tensor, context: torch.Tensor) -> torch.Tensor:
    """Return the error of the predicted noise at the high timesteps, where the motion of a clip is decided."""
    frames = clean.shape[1]
    below = (TIMESTEPS - LOWEST_TIMESTEP) * torch.rand(len(clean)).square()
    t = (TIMESTEPS - 1 - below).long().repeat_interleave(frames)
    clean = clean.flatten(0, 1)
    noise = torch.randn_like(clean)
    return schedule.error(model(schedule.noisy(clean, noise, t), t, context.repeat_interleave(frames, 0)), noise, t)


def export(folder: Path, plan: Plan) -> None:
    """Write the averaged weights as a motion LoRA file for the node Motion LoRA."""
    _, lora = lora_model(folder, plan)
    copy_lora_weights(lora, folder, plan)
    file = folder / exported_name(plan)
    tensors = {name: weight.detach().half().contiguous() for name, weight in lora.file_parameters().items()}
    save_file(tensors, file, metadata=METADATA | {"motion": DESCRIPTIONS[plan.lora]})
    print(f"{file}: {sum(weight.numel() for weight in lora.parameters())} numbers, {file.stat().st_size / 1e6:.2f} MB")
