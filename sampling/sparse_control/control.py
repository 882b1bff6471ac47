"""The host's control object for SparseCtrl, which takes part in its chains of ControlNets."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import comfy.latent_formats
import comfy.model_management
import torch
from comfy.controlnet import ControlNet
from comfy.ldm.modules.diffusionmodules.openaimodel import UNetModel

from ...motion_modules.contract import WHOLE, MotionInputs
from ...motion_modules.errors import LoomError, require_finite
from ...motion_modules.noise_schedule import require_range
from ...motion_modules.run_state import MOTION_RUN, TILE, WINDOWING, count_clip_frames, frame_numbers
from ...motion_modules.sparse_control.loading import load_sparse_network
from ...motion_modules.sparse_control.network import LATENT_CHANNELS, PICTURE_CHANNELS, SparseControlNet
from ...motion_modules.tile import PIXELS
from ...motion_modules.unet.clip_frames import find_clip_frames
from ..resizing import cover
from ..windows.conds import list_controls
from .places import PicturePlaces


@dataclass(frozen=True)
class ControlSettings:
    """Strength of the guidance, and its range in percent of the sampling schedule."""

    strength: float = 1.0
    start_percent: float = 0.0
    end_percent: float = 1.0

    def __post_init__(self):
        require_finite(self)
        require_range(self.start_percent, self.end_percent)


class SparseControl(ControlNet):
    """SparseCtrl with the pictures that it shows to a clip; `place_pictures` puts them on a copy.

    Pictures are resized and encoded once per run. Each call puts those of its frames where the
    mask is 1, and zeros everywhere else.
    """

    control_model: Any  # the host's class declares these as None
    cond_hint: Any
    cond_hint_original: Any
    latent_format: Any
    vae: Any
    reads_tiles = True
    reads_areas = False
    sub_idxs = None  # by this name, context windows know a control object that reads the frames of a window itself

    def __init__(self, name: str, network: SparseControlNet):
        rgb, device = network.config.takes_latents, comfy.model_management.get_torch_device()
        super().__init__(
            network,
            compression_ratio=1 if rgb else PIXELS,
            latent_format=comfy.latent_formats.SD15() if rgb else None,
            load_device=device,
            manual_cast_dtype=comfy.model_management.unet_manual_cast(network.dtype, device),
            extra_conds=[],
        )
        self.name = name
        self.places = PicturePlaces(0)

    @property
    def takes_latents(self) -> bool:
        """Return whether pictures are encoded by a VAE, as in the rgb kind."""
        return self.control_model.config.takes_latents

    @property
    def positions(self) -> int:
        """Largest number of frames that the motion modules can see at once."""
        return min(module.config.positions for module in self.control_model.motion.by_site.values())

    def copy(self) -> "SparseControl":
        """Return one that shares the network and has nothing of a run, as the host's own control objects do."""
        duplicate = copy.copy(self)
        self.copy_to(duplicate)
        duplicate.cond_hint = duplicate.timestep_range = duplicate.previous_controlnet = None
        duplicate.multigpu_clones = {}
        return duplicate

    def place_pictures(
        self, images: torch.Tensor, places: PicturePlaces, settings: ControlSettings, vae=None
    ) -> "SparseControl":
        """Return a copy that shows `images`, `[pictures, height, width, channels]`, at their `places`.

        Raises LoomError where `images`, `places` and `vae` do not fit.
        """
        self._check_pictures(images, places, vae)
        control = self.copy()
        control.places = places
        pictures = images[..., :PICTURE_CHANNELS].movedim(-1, 1)
        percents = settings.start_percent, settings.end_percent
        control.set_cond_hint(pictures, settings.strength, percents, vae=vae if self.takes_latents else None)
        return control

    def _check_pictures(self, images: torch.Tensor, places: PicturePlaces, vae) -> None:
        if images.shape[-1] < PICTURE_CHANNELS:
            raise LoomError(f"`images` has {images.shape[-1]} channels, expected 3. Convert it to RGB.")
        if places.frames and len(places.frames) != len(images):
            raise LoomError(
                f"`images` has {len(images)} pictures, but `frame_numbers` lists {len(places.frames)} frames. List one "
                "frame for each picture."
            )
        if self.takes_latents and vae is None:
            raise LoomError(
                f"SparseCtrl '{self.name}' is of the rgb kind, which needs `vae`, but none is connected. Connect the "
                "VAE of the checkpoint."
            )
        channels = getattr(vae, "latent_channels", LATENT_CHANNELS)
        if self.takes_latents and channels != LATENT_CHANNELS:
            raise LoomError(
                f"`vae` has latents of {channels} channels, but SparseCtrl '{self.name}' needs {LATENT_CHANNELS}. "
                "Connect the VAE of an SD1.5 checkpoint."
            )

    def check_clip(self, frames: int, attended: int | None) -> None:
        """Raise LoomError when the pictures do not fit a clip of `frames`, or the network `attended` frames at once."""
        self.places.find(frames)
        if attended is not None and attended > self.positions:
            raise LoomError(
                f"SparseCtrl '{self.name}' would see {attended} frames at once, but has positions for "
                f"{self.positions}. Add Apply Context Windows (AnimateDiff) with a `context_length` of up to "
                f"{self.positions}, or use fewer frames."
            )

    def pre_run(self, model, percent_to_timestep_function) -> None:
        """Check that the base model fits; the host calls this before the first step."""
        _require_fit(self, model.diffusion_model)
        super().pre_run(model, percent_to_timestep_function)

    def get_control(self, x_noisy, t, cond, batched_number: int, transformer_options):
        """Return the control of this and all previous objects; the host calls this before each call of the UNet.

        Raises LoomError where the clip does not fit, in the first call already: a model without motion has no
        earlier check.
        """
        control = copy.copy(self)
        frames = find_clip_frames(len(x_noisy), transformer_options, cond["c_crossattn"])
        motion = MotionInputs(frames, views=transformer_options.get(WINDOWING, WHOLE).views)
        self.check_clip(count_clip_frames(transformer_options, frames), motion.attended_frames)
        if self._acts_at(t):
            control.cond_hint = self._lay_out(x_noisy, frames, transformer_options)
            control.extra_args = self.extra_args | {"motion": motion}
        return super(SparseControl, control).get_control(x_noisy, t, cond, batched_number, transformer_options)

    def _acts_at(self, t: torch.Tensor) -> bool:
        times = self.timestep_range
        return times is None or times[1] <= t[0] <= times[0]

    def _lay_out(self, x: torch.Tensor, frames: int, options: Mapping[str, Any]) -> torch.Tensor:
        """Return `[batch, channels + 1, ...]`: the pictures of each clip in a batch of latents `x`, and the mask."""
        pictures = self._cut_to_tile(x, options)
        numbers, total = frame_numbers(options, len(x), frames), count_clip_frames(options, frames)
        hint = pictures.new_zeros(len(x), *pictures.shape[1:])
        for start in range(0, len(x), frames):
            for place, picture in self.places.choose(numbers[start : start + frames], total).items():
                hint[start + place] = pictures[picture]
        return hint

    def _cut_to_tile(self, x: torch.Tensor, options: Mapping[str, Any]) -> torch.Tensor:
        """Return all pictures with their mask where latents `x` are: in a tile, encoded as a whole and then cut.

        For a prompt with an area, they are resized to it, as those of the host's ControlNets.
        """
        tile, run, seen = options.get(TILE), options.get(MOTION_RUN), tuple(x.shape[-2:])
        whole = run.size if run and not run.has_areas else seen
        height, width = tile.size if tile else whole
        if seen != (height, width):
            raise LoomError(
                f"SparseCtrl '{self.name}' covers a latent of {width} x {height}, but another node evaluates a part of "
                f"{seen[1]} x {seen[0]}, whose place is unknown. Remove Apply SparseCtrl, or the tiles of that node."
            )
        if tile is None:
            return self._encode_once(x, height, width)
        return tile.scale(self.compression_ratio).cut(self._encode_once(x, *tile.picture))

    def _encode_once(self, x: torch.Tensor, height: int, width: int) -> torch.Tensor:
        """Return all pictures with a mask of ones, `[pictures, channels + 1, ...]`, for a latent of this size."""
        size = (height * self.compression_ratio, width * self.compression_ratio)
        if self.cond_hint is None or self.cond_hint.shape[-2:] != size:
            pictures = self._encode(height * PIXELS, width * PIXELS)
            with_mask = torch.cat([pictures, torch.ones_like(pictures[:, :1])], dim=1)
            self.cond_hint = with_mask.to(x.device, self.manual_cast_dtype or self.control_model.dtype)
        return self.cond_hint

    def _encode(self, height: int, width: int) -> torch.Tensor:
        pictures = cover(self.cond_hint_original, height, width)
        if not self.takes_latents:
            return pictures
        loaded_models = comfy.model_management.loaded_models(only_currently_used=True)
        latents = self.vae.encode(pictures.movedim(1, -1))
        comfy.model_management.load_models_gpu(loaded_models)
        return self.latent_format.process_in(latents)


def load_sparse_control(path: str) -> SparseControl:
    """Load the SparseCtrl in the file at `path`; raise MotionModelError where it holds something else."""
    return SparseControl(Path(path).name, load_sparse_network(path))


def add_sparse_control(control: SparseControl, prompts: Sequence[list]) -> list[list]:
    """Return `prompts`, each a CONDITIONING, with `control` after the ControlNets that they have.

    Prompts with the same ControlNets share one control object, so that the host can evaluate them together.
    """
    copies: dict[Any, SparseControl] = {}

    def follow(previous) -> SparseControl:
        if previous not in copies:
            copies[previous] = control.copy().set_previous_controlnet(previous)
        return copies[previous]

    return [
        [
            [text, {**options, "control": follow(options.get("control")), "control_apply_to_uncond": False}]
            for text, options in prompt
        ]
        for prompt in prompts
    ]


def check_sparse_controls(conds: Mapping[str, list[dict]], frames: int, attended: int | None) -> None:
    """Raise LoomError when a SparseCtrl of `conds` does not fit a clip of `frames`, `attended` of them at once."""
    controls = (control for cond in chain.from_iterable(conds.values()) for control in list_controls(cond))
    for control in controls:
        if isinstance(control, SparseControl):
            control.check_clip(frames, attended)


def _require_fit(control: SparseControl, unet) -> None:
    """Raise LoomError unless `unet` has the widths and the text features of `control`."""
    config = control.control_model.config
    network = (config.channels, config.multipliers, config.text_width)
    if isinstance(unet, UNetModel):
        context = _find_text_width(unet)
        model = (unet.model_channels, tuple(unet.channel_mult), context)
        description = f"a UNet of {len(unet.channel_mult)} levels for text of width {context}"
    else:
        model, description = None, f"another kind of model ({type(unet).__name__})"
    if network != model:
        raise LoomError(
            f"SparseCtrl '{control.name}' is made for SD1.5, with {len(config.multipliers)} levels and text of width "
            f"{config.text_width}, but `model` is {description}. Load an SD1.5 checkpoint, or remove Apply SparseCtrl."
        )


def _find_text_width(unet: UNetModel) -> int:
    names = (name for name, _ in unet.named_parameters() if name.endswith("attn2.to_k.weight"))
    return unet.get_parameter(next(names)).shape[1]
