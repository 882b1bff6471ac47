"""Moving noise for the help panel: what `camera` of Video Noise does, and a path that it may follow."""

from pathlib import Path

import torch
from diagrams.drawing import pack
from PIL import Image

from .animation import LABEL, PANEL, LabelledClip, Sheet, save_animation, tile_clips

SIZE, FRAMES = 16, 16  # latent pixels
CAMERAS = {
    "pan_x 8": {"pan_x": 1.0},
    "zoom 1.05": {"zoom": 1.05},
    "roll 4": {"roll": 4.0},
}
PATH_PANELS = (12, 95, 430, 513), (852, 95, 1270, 513)  # "from above" and "in the picture"
KEYFRAMES = "0: pan 0, dolly 0\n100%: pan 15, dolly 0.5"


def draw_camera(file: Path) -> None:
    """Draw noise that pans, zooms and rolls; one channel in grey."""
    clips = [LabelledClip(draw_noise(inputs), label) for label, inputs in CAMERAS.items()]
    save_animation(tile_clips(clips, Sheet(3, size=LABEL)), file)


def draw_path(file: Path) -> None:
    """Draw the path of the default keyframes of Camera Path."""
    keyframes = pack("sampling.camera.keyframes").follow_keyframes(KEYFRAMES, FRAMES, "linear", 2.0)
    picture = pack("inspection.camera.picture").draw(keyframes)[0]
    wide = Image.fromarray((picture * 255).round().byte().numpy())
    panels = [wide.resize((PANEL, PANEL), Image.Resampling.LANCZOS, box) for box in PATH_PANELS]
    tall = Image.new("RGB", (PANEL, PANEL * len(panels)))
    for number, panel in enumerate(panels):
        tall.paste(panel, (0, PANEL * number))
    tall.save(file, optimize=True)


def draw_noise(inputs: dict[str, float]) -> list[Image.Image]:
    paths, warp = pack("sampling.noise.paths"), pack("sampling.noise.warp")
    first = torch.randn(1, SIZE, SIZE, generator=torch.Generator().manual_seed(1))
    noise = warp.warp_clip(first, paths.follow_camera(paths.Camera(**inputs), FRAMES, SIZE, SIZE), 1)
    levels = (noise[:, 0] * 50 + 128).clamp(0, 255).byte()
    return [
        Image.fromarray(frame.numpy()).resize((10 * SIZE, 10 * SIZE), Image.Resampling.NEAREST).convert("RGB")
        for frame in levels
    ]
