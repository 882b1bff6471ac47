"""Small nodes of the kinds that other packs have: tiles in one batch, windows over frames, control objects."""

from collections.abc import Callable

import comfy.samplers
import torch
from comfy.context_windows import ContextHandlerABC
from comfy.controlnet import ControlBase
from comfy.patcher_extension import WrappersMP
from einops import rearrange

TILE_WIDTH = 8


def tile(model, at_once: int, cond_first: bool = False):
    """A clone whose UNet sees tiles of the latent, `at_once` in a batch: by default all conds for each tile in turn."""
    clone = model.clone()
    clone.set_model_unet_function_wrapper(lambda apply, call: _evaluate_tiles(apply, call, at_once, cond_first))
    return clone


def _evaluate_tiles(apply: Callable, call: dict, at_once: int, cond_first: bool) -> torch.Tensor:
    conds = len(call["cond_or_uncond"])
    parts = call["input"].split(TILE_WIDTH, dim=-1)
    groups = [parts[start : start + at_once] for start in range(0, len(parts), at_once)]
    return torch.cat([_evaluate_batch(apply, call, group, conds if cond_first else 1) for group in groups], dim=-1)


def _evaluate_batch(apply: Callable, call: dict, tiles: tuple, conds: int) -> torch.Tensor:
    def join(parts) -> torch.Tensor:
        return rearrange(torch.stack(list(parts)), "tile (cond f) ... -> (cond tile f) ...", cond=conds)

    def join_inputs(value):
        return join([value] * len(tiles)) if torch.is_tensor(value) else value

    inputs = {name: join_inputs(value) for name, value in call["c"].items()}
    output = apply(join(tiles), join_inputs(call["timestep"]), **inputs)
    return rearrange(
        output, "(cond tile f) c h w -> (cond f) c h (tile w)", cond=conds, tile=len(tiles), f=len(tiles[0]) // conds
    )


def divide_frames(evaluate: Callable, length: int, conds, x, timestep, model_options, publish: bool):
    """Return the predictions of consecutive windows of `length` frames, for conds that apply to every frame."""
    results = []
    for frames in torch.arange(len(x)).split(length):
        options = dict(model_options["transformer_options"])
        if publish:
            options["ad_params"] = {
                "sub_idxs": frames.tolist(),
                "full_length": len(x),
                "context_length": len(frames),
            }
        window_options = {**model_options, "transformer_options": options}
        results.append(evaluate(conds, x[frames], timestep[frames], window_options))
    return [torch.cat(parts) for parts in zip(*results, strict=True)]


def wrap_calc_cond_batch(model, length: int, publish: bool = True):
    """Windows in a wrapper of the host's `calc_cond_batch`."""
    clone = model.clone()

    def wrapper(executor, model, conds, x, timestep, model_options):
        def evaluate(conds, *window):
            return executor(model, conds, *window)

        return divide_frames(evaluate, length, conds, x, timestep, model_options, publish)

    clone.add_wrapper_with_key(WrappersMP.CALC_COND_BATCH, "windows", wrapper)
    return clone


def replace_calc_cond_batch(model, length: int, publish: bool = False):
    """Windows in the function that replaces the host's `calc_cond_batch`."""
    clone = model.clone()

    def function(call):
        def evaluate(conds, *window):
            return comfy.samplers.calc_cond_batch(call["model"], conds, *window)

        return divide_frames(
            evaluate, length, call["conds"], call["input"], call["sigma"], call["model_options"], publish
        )

    clone.set_model_sampler_calc_cond_batch_function(function)
    return clone


class OtherHandler(ContextHandlerABC):
    """A context handler that has no attribute of the host's own."""

    def __init__(self, window: int):
        self.window = window

    def should_use_context(self, model, conds, x_in, timestep, model_options) -> bool:
        return len(x_in) > self.window

    def get_resized_cond(self, cond_in, x_in, window, device=None) -> list:
        return cond_in

    def execute(self, calc_cond_batch, model, conds, x_in, timestep, model_options) -> list:
        def evaluate(conds, *window):
            return calc_cond_batch(model, conds, *window)

        return divide_frames(evaluate, self.window, conds, x_in, timestep, model_options, publish=False)


def set_handler(model, length: int):
    clone = model.clone()
    clone.model_options["context_handler"] = OtherHandler(length)
    return clone


def divide_in_function_wrapper(model, length: int):
    """Windows inside the host's evaluation of one batch of conds, which no option describes."""
    clone = model.clone()

    def wrapper(apply_model, call):
        places = torch.arange(len(call["input"])).view(len(call["cond_or_uncond"]), -1)
        output = torch.empty_like(call["input"])
        for window in places.split(length, dim=1):
            rows = window.flatten()
            inputs = {name: value[rows] if torch.is_tensor(value) else value for name, value in call["c"].items()}
            output[rows] = apply_model(call["input"][rows], call["timestep"][rows], **inputs)
        return output

    clone.set_model_unet_function_wrapper(wrapper)
    return clone


class FrameStrengths(ControlBase):
    """A control object that has a strength for each frame and finds its frames in `ad_params`.

    Its methods are attributes that are bound to the object, and it counts the noise levels that it has seen.
    """

    def __init__(self, strengths: list[float]):
        super().__init__()
        self.strengths, self.sub_idxs = strengths, None
        self.levels: list[float] = []
        self.get_control = self.get_control_in_window

    def get_control_in_window(self, x_noisy, t, cond, batched_number, transformer_options):
        self.sub_idxs = transformer_options["ad_params"]["sub_idxs"]
        if float(t[0]) not in self.levels:
            self.levels.append(float(t[0]))
        previous = None
        if self.previous_controlnet is not None:
            previous = self.previous_controlnet.get_control(x_noisy, t, cond, batched_number, transformer_options)
        features = self._strengths_of_rows(len(x_noisy) // batched_number).repeat(batched_number)
        control = {"middle": [features.view(-1, 1, 1, 1).expand(len(x_noisy), 128, 1, 1).clone()]}
        return self.control_merge(control, previous, None)

    def _strengths_of_rows(self, rows: int) -> torch.Tensor:
        """Give each frame's strength to one row, as latent keyframes do."""
        row_of_frame = {frame: row for row, frame in enumerate(self.sub_idxs)}
        strengths = torch.zeros(rows)
        for frame, row in row_of_frame.items():
            strengths[row] = self.strengths[frame]
        return strengths
