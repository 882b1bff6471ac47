"""Sampling a tiny clip with the host's own samplers and nodes, and recording what its UNet receives and returns."""

import importlib
import inspect
from dataclasses import dataclass, field
from typing import Any

import comfy.cldm.cldm
import comfy.controlnet
import comfy.hooks
import comfy.ops
import comfy.sample
import comfy.samplers
import comfy.sd
import pytest
import torch
from comfy.context_windows import ContextFuseMethods, ContextSchedules
from comfy.model_management import interrupt_current_processing, throw_exception_if_processing_interrupted
from comfy.patcher_extension import WrappersMP
from comfy.t2i_adapter.adapter import Adapter
from comfy_api.latest import io

import nodes
from tests.support.host import CONTEXT_WIDTH, CPU, POOLED_WIDTH, unet_config
from tests.support.motion_files import random_weight

LATENT_SIZE, TOKENS = 8, 7
HOST = "comfy"  # what observers of tests count as: windows are evaluated one by one for wrappers of other packs


def prompt(seed: int, tokens: int = TOKENS, **extra: Any) -> list:
    generator = torch.Generator().manual_seed(seed)
    text = torch.randn(1, tokens, CONTEXT_WIDTH, generator=generator)
    return [[text, {"pooled_output": torch.randn(1, POOLED_WIDTH, generator=generator), **extra}]]


def noise(frames: int, seed: int = 1) -> torch.Tensor:
    return torch.randn(frames, 4, LATENT_SIZE, LATENT_SIZE, generator=torch.Generator().manual_seed(seed))


def sample(
    model,
    frames: int = 3,
    steps: int = 2,
    cfg: float = 5.0,
    sampler: str = "euler",
    scheduler: str = "normal",
    **options,
) -> torch.Tensor:
    """The latents that KSampler would make of `frames` empty ones."""
    options = {"positive": prompt(2), "negative": prompt(3), "noise": noise(frames), "seed": 1} | options
    options.setdefault("latent_image", torch.zeros_like(options["noise"]))
    positive, negative, start = options.pop("positive"), options.pop("negative"), options.pop("noise")
    return comfy.sample.sample(
        model, start, steps, cfg, sampler, scheduler, positive, negative, disable_pbar=True, **options
    )


@dataclass
class UNetCalls:
    """A host wrapper that keeps the arguments and the result of every evaluation of the UNet."""

    calls: list[dict[str, Any]] = field(default_factory=list)
    __module__ = HOST

    def __call__(self, executor, x, timesteps, context, y=None, control=None, transformer_options=None, **kwargs):
        output = executor(x, timesteps, context, y, control, transformer_options, **kwargs)
        call = {"x": x, "timesteps": timesteps, "context": context, "y": y, "output": output}
        self.calls.append(call | {"chunks": transformer_options["cond_or_uncond"]})
        return output


def record_unet(model) -> tuple[Any, UNetCalls]:
    """A clone of `model` and what its UNet will have been asked."""
    clone, seen = model.clone(), UNetCalls()
    clone.add_wrapper_with_key(WrappersMP.DIFFUSION_MODEL, "test", seen)
    return clone, seen


def evaluate_once(model, frames: int, timestep: int) -> dict[str, Any]:
    """Evaluate the UNet once with CFG at `timestep`, by the host's whole sampling path."""
    model, seen = record_unet(model)
    sigma = model.get_model_object("model_sampling").sigma(torch.tensor(float(timestep)))
    sample(model, frames, steps=1, sigmas=torch.stack((sigma, torch.zeros(()))))
    (call,) = seen.calls
    return call


FRAMES, STEPS, CFG, SEED = 4, 2, 5.0, 1
LORA_KEYS = (
    "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q",
    "lora_unet_up_blocks_3_attentions_2_transformer_blocks_0_attn2_to_out_0",
)


def call(node, **inputs):
    """The first output of a host node, of either API."""
    target = node if issubclass(node, io.ComfyNode) else node()
    result = getattr(target, node.FUNCTION)(**inputs)
    return (result.result if isinstance(result, io.NodeOutput) else result)[0]


def host_node(path: str):
    """A node class as `module.Class` in `comfy_extras`; the test is skipped where the host has none."""
    module, name = path.split(".")
    try:
        return getattr(importlib.import_module(f"comfy_extras.{module}"), name)
    except (ImportError, AttributeError):
        pytest.skip(f"this host has no {path}")


def ksampler(model, frames: int = FRAMES, **inputs) -> torch.Tensor:
    """The latents that the KSampler node makes."""
    inputs = _with_defaults(inputs, frames) | {"seed": SEED, "denoise": inputs.get("denoise", 1.0)}
    return call(nodes.KSampler, model=model, **inputs)["samples"]


def ksampler_advanced(model, frames: int = FRAMES, **inputs) -> dict:
    """The LATENT that the KSampler Advanced node makes."""
    switches = {
        "add_noise": "enable",
        "return_with_leftover_noise": "disable",
        "start_at_step": 0,
        "end_at_step": 10000,
    }
    return call(nodes.KSamplerAdvanced, model=model, noise_seed=SEED, **(_with_defaults(switches | inputs, frames)))


def sampler_custom_advanced(guider, frames: int = FRAMES, steps: int = STEPS, sampler: str = "euler") -> torch.Tensor:
    """The latents that SamplerCustomAdvanced makes with `guider`."""
    custom = importlib.import_module("comfy_extras.nodes_custom_sampler")
    inputs = {
        "noise": call(custom.RandomNoise, noise_seed=SEED),
        "guider": guider,
        "sampler": call(custom.KSamplerSelect, sampler_name=sampler),
        "sigmas": call(custom.BasicScheduler, model=guider.model_patcher, scheduler="normal", steps=steps, denoise=1.0),
        "latent_image": {"samples": torch.zeros_like(noise(frames))},
    }
    return call(custom.SamplerCustomAdvanced, **inputs)["samples"]


def distance(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    """Return the distance of two clips, relative to their size."""
    return float((ours - theirs).norm() / theirs.norm())


def lora(seed: int = 0, width: int = 32, rank: int = 4) -> dict[str, torch.Tensor]:
    """A LoRA file for two layers of the tiny UNet."""
    generator = torch.Generator().manual_seed(seed)
    shapes = {"lora_up.weight": (width, rank), "lora_down.weight": (rank, width)}
    return {
        f"{key}.{name}": random_weight(name, shape, generator) for key in LORA_KEYS for name, shape in shapes.items()
    }


def load_lora(model, strength: float = 1.0):
    """A clone of `model` as the host's LoRA loader makes it."""
    return comfy.sd.load_lora_for_models(model, None, lora(), strength, 0.0)[0]


def _with_defaults(inputs: dict, frames: int) -> dict:
    defaults = {
        "steps": STEPS,
        "cfg": CFG,
        "sampler_name": "euler",
        "scheduler": "normal",
        "positive": prompt(2),
        "negative": prompt(3),
        "latent_image": {"samples": torch.zeros_like(noise(frames))},
    }
    return defaults | inputs


POSITIVE, NEGATIVE, OTHER = prompt(2), prompt(3), prompt(4)
BOTH = {"positive": POSITIVE, "negative": NEGATIVE}
THREE = {"cond1": POSITIVE, "cond2": OTHER, "negative": NEGATIVE, "cfg_conds": 4.0, "cfg_cond2_negative": 3.0}
GUIDERS = {
    "BasicGuider": ("nodes_custom_sampler.BasicGuider", {"conditioning": POSITIVE}),
    "CFGGuider": ("nodes_custom_sampler.CFGGuider", {**BOTH, "cfg": CFG}),
    "DualCFGGuider": ("nodes_custom_sampler.DualCFGGuider", {**THREE, "style": "regular"}),
    "DualCFGGuider nested": ("nodes_custom_sampler.DualCFGGuider", {**THREE, "style": "nested"}),
    "DualModelGuider": ("nodes_custom_sampler.DualModelGuider", {**BOTH, "cfg": CFG}),
    "PerpNegGuider": (
        "nodes_perpneg.PerpNegGuider",
        {**BOTH, "empty_conditioning": OTHER, "cfg": CFG, "neg_scale": 1.0},
    ),
}


def run_guider(name: str, model, frames: int = FRAMES, **more) -> torch.Tensor:
    """The latents that SamplerCustomAdvanced makes with the guider of that name."""
    path, inputs = GUIDERS[name]
    return sampler_custom_advanced(call(host_node(path), model=model, **inputs, **more), frames)


def fill_weights(module: torch.nn.Module, scale: float = 1.0) -> torch.nn.Module:
    generator = torch.Generator().manual_seed(3)
    for name, weight in module.named_parameters():
        weight.data = random_weight(name, weight.shape, generator) * (scale if weight.ndim > 1 else 1.0)
    return module.requires_grad_(False).eval()


def control_net():
    config = unet_config("SD1.5")
    for name in ("out_channels", "transformer_depth_output"):
        config.pop(name)
    net = comfy.cldm.cldm.ControlNet(hint_channels=3, operations=comfy.ops.manual_cast, device=CPU, **config)
    return comfy.controlnet.ControlNet(fill_weights(net), load_device=CPU)


def t2i_adapter():
    adapter = Adapter(cin=64 * 3, channels=[32, 64, 128, 128], nums_rb=2, ksize=1, sk=True, use_conv=False, xl=False)
    return comfy.controlnet.T2IAdapter(fill_weights(adapter), 3, 8, "nearest-exact", CPU)


def random_pictures(frames: int = FRAMES, seed: int = 0) -> torch.Tensor:
    return torch.rand(frames, 64, 64, 3, generator=torch.Generator().manual_seed(seed))


def apply_control(net, image: torch.Tensor, start: float = 0.0, end: float = 1.0) -> dict:
    node, inputs = nodes.ControlNetApplyAdvanced(), {"strength": 1.0, "start_percent": start, "end_percent": end}
    both = node.apply_controlnet(positive=prompt(2), negative=prompt(3), control_net=net, image=image, **inputs)
    return dict(zip(("positive", "negative"), both, strict=True))


INTERRUPTION = "interruption"


def fail_during(model, evaluation: int = 2):
    """A clone inside whose UNet something goes wrong at an evaluation, after the first layers."""
    return _ending(model, evaluation, _divide_by_nothing)


def interrupt_during(model, evaluation: int = 2):
    """A clone during whose evaluation the user presses Cancel."""
    return _ending(model, evaluation, _cancel)


def _ending(model, evaluation: int, end):
    clone, count = model.clone(), iter(range(1, 1000))

    def count_evaluations(executor, *arguments, **more):
        options = arguments[5]
        options["evaluation"] = next(count)
        return executor(*arguments, **more)

    def in_the_middle(arguments):
        if arguments["transformer_options"]["evaluation"] == evaluation:
            end()
        return arguments

    clone.add_wrapper_with_key(WrappersMP.DIFFUSION_MODEL, INTERRUPTION, count_evaluations)
    clone.set_model_middle_block_after_patch(in_the_middle)
    return clone


def _divide_by_nothing() -> None:
    raise ZeroDivisionError("a layer of the UNet failed")


def _cancel() -> None:
    interrupt_current_processing()
    throw_exception_if_processing_interrupted()


def set_hooks(hooks, text):
    node = host_node("nodes_hooks.ConditioningSetProperties")
    return call(node, cond_NEW=text, strength=1.0, set_cond_area="default", hooks=hooks)


def start_hooks_at(percent: float, hooks):
    """The hooks, with no effect before `percent` of the schedule."""
    keyframe, frames = host_node("nodes_hooks.CreateHookKeyframe"), None
    for strength, start in ((0.0, 0.0), (1.0, percent)):
        frames = call(keyframe, strength_mult=strength, start_percent=start, prev_hook_kf=frames)
    return call(host_node("nodes_hooks.SetHookKeyframes"), hooks=hooks, hook_kf=frames)


def make_lora_hooks():
    return comfy.hooks.create_hook_lora(lora=lora(), strength_model=1.0, strength_clip=0.0)


HOST_LENGTH = 3


def record_options(model) -> tuple:
    """A clone of `model`, and a list that fills with the options and the control of every evaluation of its UNet."""
    clone, seen = model.clone(), []

    def keep(executor, x, timesteps, context, y=None, control=None, transformer_options=None, **kwargs):
        kept = {name: list(features) for name, features in (control or {}).items()}  # the UNet empties the lists
        seen.append({"options": transformer_options, "control": kept, "x": x, "context": context, "y": y})
        return executor(x, timesteps, context, y, control, transformer_options, **kwargs)

    keep.__module__ = HOST
    clone.add_wrapper_with_key(WrappersMP.DIFFUSION_MODEL, "test", keep)
    return clone, seen


def apply_host_windows(model, **more):
    """A clone with windows of 3 frames that do not overlap, unless `more` says otherwise."""
    node = host_node("nodes_context_windows.ContextWindowsManualNode")
    inputs = {
        "context_length": HOST_LENGTH,
        "context_overlap": 0,
        "context_schedule": ContextSchedules.STATIC_STANDARD,
        "context_stride": 1,
        "closed_loop": False,
        "fuse_method": ContextFuseMethods.PYRAMID,
        "dim": 0,
        "freenoise": False,
        "causal_window_fix": False,
    }
    known = inspect.signature(node.execute).parameters
    return call(node, model=model, **{name: value for name, value in (inputs | more).items() if name in known})
