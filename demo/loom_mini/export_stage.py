"""Last stage: save the averaged weights of all stages as the two float16 files that are shipped.

With another architecture, save only the motion model, in a file named after the architecture.
"""

from pathlib import Path

from host.in_process import pack
from safetensors.torch import save_file

from .architecture import PREFIXES
from .diffusion import MOTION_SCHEDULE
from .image_stage import load_earlier_image_model
from .latents_stage import load_trained_autoencoder
from .motion_stage import POSITIONS, build_motion_modules, copy_trained_weights, exported_name, motion_sites
from .trainer import Plan, Tensors
from .world import FRAMES

PLAN = Plan(steps=0, batch=0, rate=0.0)
CHECKPOINT = "loom_mini.safetensors"


def train(folder: Path, plan: Plan) -> None:
    """Write the files to `folder`; the shipped ones are next to this script."""
    if plan.architecture == PLAN.architecture:
        tensors = checkpoint(folder)
        save_file(tensors, folder / CHECKPOINT)
        _print_size(folder / CHECKPOINT, tensors)
    export_motion_model(folder, plan)


def export_motion_model(folder: Path, plan: Plan) -> None:
    """Write the motion modules of the plan's architecture to a file for Load Motion Model."""
    file, tensors = folder / exported_name(plan), motion_model(folder, plan)
    if plan.architecture == PLAN.architecture:
        save_file(tensors, file)
    else:
        _save_as_custom_family(file, tensors, folder, plan)
    _print_size(file, tensors)


def _save_as_custom_family(file: Path, tensors: Tensors, folder: Path, plan: Plan) -> None:
    sites = motion_sites(load_earlier_image_model(folder).unet, plan)
    training = {"default_positions": POSITIONS, "trained_frames": FRAMES, "beta_schedule": MOTION_SCHEDULE}
    family = pack("motion_modules.motion_model").make_custom_family(
        [site.architecture for site in sites.values()], sites, base="SD1.5", **training
    )
    pack("motion_modules.files.saving").save_motion_tensors(tensors, family, sites, file)


def _print_size(file: Path, tensors: Tensors) -> None:
    parameters = sum(tensor.numel() for tensor in tensors.values())
    print(f"{file}: {len(tensors)} tensors, {parameters / 1e6:.2f} M numbers, {file.stat().st_size / 1e6:.1f} MB")


def checkpoint(folder: Path) -> Tensors:
    """Return UNet, text encoder and autoencoder, named as in the files of Stable Diffusion 1.5."""
    image = load_earlier_image_model(folder)
    text = {name.removeprefix("clip_l."): tensor for name, tensor in image.text.state_dict().items()}
    left_out = ("text_projection.weight", "logit_scale")
    text = {name: tensor for name, tensor in text.items() if not name.endswith(left_out)}
    networks = {"unet": image.unet.state_dict(), "text": text, "vae": load_trained_autoencoder(folder).state_dict()}
    return {
        PREFIXES[part] + name: tensor.half().contiguous()
        for part, tensors in networks.items()
        for name, tensor in tensors.items()
    }


def motion_model(folder: Path, plan: Plan) -> Tensors:
    """Return the motion modules in AnimateDiff's layout, with full tables of positions as in published files."""
    motion = build_motion_modules(load_earlier_image_model(folder).unet, plan)
    copy_trained_weights(motion, folder, plan)
    return {name: tensor.half().contiguous() for name, tensor in motion.state_dict().items()}
