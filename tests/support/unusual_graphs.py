"""Workflows with nodes of AnimateDiff-Evolved whose values or modes are unusual."""

from collections.abc import Callable
from typing import Any

from tests.support.evolved_graphs import (
    FRAMES,
    Workflow,
    empty,
    evolved,
    motion,
    prompts,
    sample,
    save,
    start,
    static_windows,
)


def bypassed_motion() -> Workflow:
    """A bypassed sampling node, a muted one and an active one, with the same motion model and windows."""
    at = start()
    models, windows, conds = motion(at), static_windows(at), prompts(at)
    latent = empty(at)
    for mode in (4, 2, 0):
        model = evolved(at, at.model, m_models=models, context_options=windows)
        at.graph.nodes[-1]["mode"] = mode
        latent = sample(at, model, conds, latent, 0.5)
    return save(at, latent)


def part_of_schedule() -> Workflow:
    """Frames 8 to 24 of a schedule, as older versions of the node store it, with prompt weights of 0."""
    return _schedule(FRAMES, 8, 24)


def whole_schedule() -> Workflow:
    """All frames of a schedule, the last of which is named."""
    return _schedule(FRAMES, 0, FRAMES)


def _schedule(frames: int, first: int, end: int) -> Workflow:
    at = start()
    values = ['"0": "spring", "16": "winter"', frames, False, "", "", first, end, 0, 0, 0, 0]
    conds = at.graph.add("BatchPromptSchedule", "CONDITIONING CONDITIONING", values, clip=at.clip)
    return save(at, sample(at, evolved(at, at.model, m_models=motion(at)), conds, empty(at)))


def options_without_counterpart() -> Workflow:
    """Steps that depend on denoise, a loop only for longer clips, and a video that is not kept."""
    at = start()
    settings = at.graph.one("ADE_AnimateDiffSamplingSettings", "SAMPLE_SETTINGS", [0, "default", "comfy", 0, True])
    values = [16, 1, 4, True, "flat", False, 0, 1]
    windows = at.graph.one("ADE_LoopedUniformContextOptions", "CONTEXT_OPTIONS", values)
    inputs = {"m_models": motion(at), "context_options": windows, "sample_settings": settings}
    latent = sample(at, evolved(at, at.model, **inputs), prompts(at), empty(at))
    images = at.graph.one("VAEDecode", "IMAGE", samples=latent, vae=at.vae)
    at.graph.add("ADE_AnimateDiffCombine", "", [8, 0, "clip", "video/h264-mp4", False, False], images=images)
    return at.graph.workflow()


def linked_keyframe() -> Workflow:
    """Two keyframes, one with a linked start, and values that need an exponent or end between two digits."""
    at = start()
    small, large = (at.graph.one("ADE_MultivalDynamic", "MULTIVAL", [value]) for value in (0.00001, 1.0000005))
    begin = at.graph.one("PrimitiveFloat", "FLOAT", [0.3])
    chain = at.graph.one("ADE_AnimateDiffKeyframe", "AD_KEYFRAMES", [0.25, True, 1], effect_multival=large)
    at.graph.convert_widget("start_percent", begin)
    inputs = {"effect_multival": small, "prev_ad_keyframes": chain}
    chain = at.graph.one("ADE_AnimateDiffKeyframe", "AD_KEYFRAMES", [0.0000005, True, 1], **inputs)
    return save(at, sample(at, evolved(at, at.model, m_models=motion(at, ad_keyframes=chain)), prompts(at), empty(at)))


def odd_value() -> Workflow:
    """A strength that is a text, before one that is a number."""
    at = start()
    latent, conds = empty(at), prompts(at)
    values: tuple[Any, ...] = ("strong", 0.5)
    for value in values:
        strength = at.graph.one("ADE_MultivalDynamic", "MULTIVAL", [value])
        model = evolved(at, at.model, m_models=motion(at, effect_multival=strength))
        latent = sample(at, model, conds, latent, 0.5)
    return save(at, latent)


def endless_chain() -> Workflow:
    """A motion LoRA that follows itself, beside a latent that can be converted."""
    at = start()
    lora = at.graph.one("ADE_AnimateDiffLoRALoader", "MOTION_LORA", ["zoom.ckpt", 0.8])
    at.graph.convert_widget("prev_motion_lora", lora)
    return save(at, sample(at, evolved(at, at.model, m_models=motion(at, motion_lora=lora)), prompts(at), empty(at)))


UNUSUAL: dict[str, Callable[[], Workflow]] = {
    graph.__name__: graph
    for graph in (
        bypassed_motion,
        part_of_schedule,
        whole_schedule,
        options_without_counterpart,
        linked_keyframe,
        odd_value,
        endless_chain,
    )
}
