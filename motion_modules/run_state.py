"""The keys that this pack puts into the host's `transformer_options`, and the helpers that put them there.

On a MODEL, from the node that adds it on:

- APPLIED: the motion models that were applied, a tuple of `unet.applied.AppliedMotion`
- ATTENTION_TAPS: what sees or edits temporal attention, a tuple of `attention_tap.AttentionTap`
- CONDITIONS: inputs of adapters for the clip, a dictionary of `adapters.adapter.AdapterCondition` by key
- VIDEO_NOISE: the noise to start from, `sampling.noise.initial.NoiseSettings`
- FREE_INIT: how often to sample, and the filter in between, `sampling.noise.free_init.FreeInitSettings`
- AMPLIFIER: what amplifies motion, a tuple of `sampling.steering.amplifier.AmplifierSettings`
- REPORT: the report that sampling fills, `inspection.report.sampling_report.SamplingReport`

During one run of a sampler:

- MOTION_RUN: whether any motion module ran, `unet.applied.MotionRun`
- CONTEXT_RUN: what context windows calculate once for a run, `sampling.windows.run.ContextRun`
- OBSERVER: what reads numbers from motion modules, `watching.observer.Observer`
- REPORT_RUN: the run that a report is filled with, `inspection.report.run.ReportRun`

During one evaluation of the UNet:

- WINDOWING: how frames are divided among motion modules, `contract.Windowing`
- TILE: the part of the picture that is evaluated, `tile.Tile`; absent for the whole picture
- CALL_FRAMES: the number of frames that the host evaluates at once, before other nodes divide them
- ACTIVE: the modules to run in each block, `unet.activation.ActiveMotion`
- AD_PARAMS: the frames of the windows, under the name and in the form that packs for AnimateDiff read
- CONTEXT_WINDOW: the same in the host's own form

The host's `patches` get the layer patches of `unet.placement`, and for reference windows those of
`sampling.windows.reference`. The host shares `transformer_options` between clones of a MODEL only
by copy, so a value that is put on a clone never reaches the original.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from comfy.model_patcher import ModelPatcher

APPLIED = "loom_applied_motion"
ATTENTION_TAPS = "loom_attention_taps"
CONDITIONS = "loom_adapter_conditions"
VIDEO_NOISE = "loom_video_noise"
FREE_INIT = "loom_free_init"
AMPLIFIER = "loom_motion_amplifier"
TEMPORAL_GUIDANCE = "loom_temporal_guidance"
REPORT = "loom_sampling_report"

MOTION_RUN = "loom_motion_run"
CONTEXT_RUN = "loom_context_run"
OBSERVER = "loom_observer"
REPORT_RUN = "loom_report_run"

WINDOWING = "loom_windowing"
TILE = "loom_tile"
CALL_FRAMES = "loom_call_frames"
ACTIVE = "loom_active_motion"
AD_PARAMS = "ad_params"
CONTEXT_WINDOW = "context_window"


def put_on_model(model: ModelPatcher, key: str, value: Any) -> None:
    """Put `value` into the `transformer_options` of `model`, which should be a clone."""
    model.model_options["transformer_options"][key] = value


@contextmanager
def set_temporarily(model_options: dict, values: dict[str, Any]) -> Iterator[None]:
    """Put `values` into the `transformer_options` of `model_options`, and restore these on leaving."""
    options = model_options["transformer_options"]
    replaced = {key: options[key] for key in values if key in options}
    options.update(values)
    try:
        yield
    finally:
        for key in values:
            options.pop(key, None)
        options.update(replaced)


def add_wrapper_once(model: ModelPatcher, kind: str, key: str, wrapper: Callable) -> None:
    """Add `wrapper` to `model`, unless it has one of this `kind` (a WrappersMP) under `key`."""
    if not model.get_wrappers(kind, key):
        model.add_wrapper_with_key(kind, key, wrapper)


def count_conds(options: Mapping[str, Any]) -> int:
    """Return the number of conds in a batch of the UNet; `options` are the host's `transformer_options`."""
    return max(1, len(options.get("cond_or_uncond", (0,))))


def list_window_frames(options: Mapping[str, Any]) -> list[int] | None:
    """Return the frames in the windows of any node that lists them; `options` are the host's `transformer_options`."""
    window = options.get(CONTEXT_WINDOW)
    listed = getattr(window, "index_list", None) if getattr(window, "dim", 0) == 0 else None
    return listed or (options.get(AD_PARAMS) or {}).get("sub_idxs")


def list_call_frames(options: Mapping[str, Any], frames: int) -> list[int]:
    """Return the frames of the whole clip that a cond shows in this evaluation, in windows of any node that lists them.

    `options` are the host's `transformer_options`, and `frames` is the number of frames in each
    window, of which there may be several in a row.
    """
    numbers = list_window_frames(options) or range(frames)
    anchor = [max(0, numbers[0] - 1)] * (frames - len(numbers))  # the host may put a frame before a window
    numbers = [*anchor, *numbers]
    return numbers if len(numbers) % frames == 0 else list(range(frames))


def frame_numbers(options: Mapping[str, Any], batch: int, frames: int) -> list[int]:
    """Return the frame of the whole clip at each place in a batch of the UNet, which has `frames` in each window."""
    period = list_call_frames(options, frames)
    return [period[place % len(period)] for place in range(batch)]


def count_clip_frames(options: Mapping[str, Any], frames: int) -> int:
    """Return the length of the whole clip, of which this evaluation shows windows of `frames`."""
    window = options.get(CONTEXT_WINDOW)
    listed = getattr(window, "total_frames", 0) if getattr(window, "dim", 0) == 0 else 0
    return listed or (options.get(AD_PARAMS) or {}).get("full_length") or frames
