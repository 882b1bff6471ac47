"""Weights that a stage starts from: those of earlier stages in its folder, else those of the shipped model."""

from pathlib import Path
from typing import Any

import comfy.utils
import torch
from host.errors import SetupError
from host.loom_mini import CHECKPOINT, FOLDER

from .architecture import select_network
from .trainer import Tensors, load_averages

AUTOENCODER, DECODER, IMAGE = "vae.pt", "decoder.pt", "image.pt"


def has_autoencoder(folder: Path) -> bool:
    """Return whether `folder` has an autoencoder of its own, to which the shipped image model does not fit."""
    return (folder / AUTOENCODER).exists()


def autoencoder_weights(folder: Path) -> Tensors:
    """Return the weights of the autoencoder; those of the shipped one give whitened latents (latents_stage.py)."""
    return load_averages(folder / AUTOENCODER) if has_autoencoder(folder) else read_file(CHECKPOINT, "vae")


def image_weights(folder: Path) -> Tensors:
    """Return the weights of UNet and text encoder; raise SetupError where only an autoencoder was trained."""
    if (folder / IMAGE).exists():
        return load_averages(folder / IMAGE)
    if has_autoencoder(folder):
        raise SetupError(
            f"{folder} has an autoencoder, {AUTOENCODER}, but no image model for it. Run the stage image first, or "
            "pass another --folder to use the shipped image model."
        )
    networks = {"unet.": read_file(CHECKPOINT, "unet"), "text.clip_l.": read_file(CHECKPOINT, "text")}
    return {prefix + name: tensor for prefix, tensors in networks.items() for name, tensor in tensors.items()}


def motion_weights(checkpoint: Path, exported: str) -> Tensors:
    """Return the weights of motion modules from their `checkpoint`, or from the shipped file of the name `exported`.

    Raise SetupError when there is neither, or when an image model next to the checkpoint replaces
    the shipped one.
    """
    if checkpoint.exists():
        return load_averages(checkpoint)
    folder, shipped = checkpoint.parent, FOLDER / exported
    if not shipped.exists() or has_autoencoder(folder) or (folder / IMAGE).exists():
        raise SetupError(f"{checkpoint} does not exist. Run the stage motion first, with the same options.")
    return read_file(shipped)


def read_file(file: Path, part: str = "") -> Tensors:
    """Return the tensors of a file, or of one network in it, in float32 on the default device."""
    tensors: Any = comfy.utils.load_torch_file(str(file), safe_load=True)
    tensors = select_network(tensors, part) if part else tensors
    return {name: tensor.to(torch.get_default_device(), torch.float32) for name, tensor in tensors.items()}
