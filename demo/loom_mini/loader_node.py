"""Loader node of Loom Mini: its checkpoint as MODEL, CLIP and VAE."""

from pathlib import Path
from typing import Any

import comfy.utils
from comfy_api.latest import io

from .architecture import load_autoencoder, load_model, load_text_encoder, select_network

CHECKPOINT = Path(__file__).resolve().parent / "loom_mini.safetensors"


class LoomMiniLoader(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LoomMiniLoader",
            display_name="Load Loom Mini",
            category="AnimateDiff Loom/demo",
            description="Loads Loom Mini, a tiny image model of coloured shapes that samples in seconds on a CPU.",
            search_aliases=["Loom Mini", "tiny checkpoint", "demo model"],
            inputs=[],
            outputs=[io.Model.Output(), io.Clip.Output(), io.Vae.Output()],
        )

    @classmethod
    def execute(cls) -> io.NodeOutput:
        checkpoint: Any = comfy.utils.load_torch_file(str(CHECKPOINT), safe_load=True)
        unet, text, vae = (select_network(checkpoint, part) for part in ("unet", "text", "vae"))
        return io.NodeOutput(load_model(unet), load_text_encoder(text), load_autoencoder(vae))
