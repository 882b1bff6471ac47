"""Gradients of every architecture: exact, the same with checkpointing, near the same under autocast."""

import pytest
import torch
from animatediff_loom.motion_modules import contract
from animatediff_loom.motion_modules.contract import MotionInputs, Views
from animatediff_loom.motion_modules.files.untrained import create_modules
from animatediff_loom.motion_modules.unet.sites import unet_sites
from animatediff_loom.training.bare_unet import bare_options
from animatediff_loom.training.checkpointing import GradientCheckpointing
from torch import nn
from torch.amp.grad_scaler import GradScaler
from torch.func import functional_call

from tests.support.host import CONTEXT_WIDTH, tiny_model
from tests.support.motion_models import FRAMES, KEYS, feature_maps, motion_inputs, random_module, untrained_motion
from tests.support.sampling import noise

LOW_PRECISIONS = {torch.bfloat16: 0.03, torch.float16: 0.004}  # and how far gradients may be from those in float32

every = pytest.mark.parametrize("key", KEYS)


def overlapping() -> Views:
    """All frames but the last and all but the first, which count half each where both are."""
    windows = (torch.arange(FRAMES - 1), torch.arange(1, FRAMES))
    first = torch.full((1, FRAMES - 1, 1), 0.5).index_fill(1, torch.tensor([0]), 1.0)
    return Views(windows, (first, first.flip(1)))


in_views = pytest.mark.parametrize("views", (None, overlapping()), ids=("whole", "views"))


def trained_module(key: str) -> nn.Module:
    return random_module(key).requires_grad_()


def error_of(module: nn.Module, x: torch.Tensor, arguments: MotionInputs) -> torch.Tensor:
    return (module(x, arguments).float() - x.flip(0)).square().mean()


def gradients(module: nn.Module) -> dict[str, torch.Tensor]:
    """Take the gradients of all parameters away from the module."""
    results = {name: value.grad for name, value in module.named_parameters()}
    module.zero_grad(set_to_none=True)
    return results


def kept_for_backward(module: nn.Module, forward) -> tuple[torch.Tensor, int]:
    """Return the result of `forward()`, and the bytes kept for its backward pass without those of the parameters."""
    weights = {value.untyped_storage().data_ptr() for value in module.parameters()}
    kept: dict[int, int] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        result = forward()
    return result, sum(kept.values())


@in_views
@every
def test_gradients_are_those_of_the_mathematics(key, views, monkeypatch):
    """In float64 against finite differences: of feature map, timestep embedding and parameters, in several portions."""
    monkeypatch.setattr(contract, "CPU_TOKENS", 4 * 2 * FRAMES)
    module = trained_module(key).double()
    names, weights = zip(*module.named_parameters(), strict=True)
    x, time = (tensor.double().requires_grad_() for tensor in (feature_maps(), motion_inputs().time_embedding))

    def moved(x: torch.Tensor, time: torch.Tensor, *weights: torch.Tensor) -> torch.Tensor:
        arguments = MotionInputs(FRAMES, 0.7, 1.2, views=views, time_embedding=time)
        return functional_call(module, dict(zip(names, weights, strict=True)), (x, arguments))

    assert torch.autograd.gradcheck(moved, (x, time, *weights), fast_mode=True)


@pytest.mark.parametrize("dtype", LOW_PRECISIONS, ids=str)
@in_views
@every
def test_autocast_trains_a_step(key, views, dtype):
    """On features as a UNet hands them over under autocast; gradients are those of float32, with less precision."""
    module, x, arguments = trained_module(key), feature_maps(), motion_inputs(views=views)
    error_of(module, x, arguments).backward()
    exact = gradients(module)
    optimiser = torch.optim.SGD(module.parameters(), lr=0.1)
    scaler = GradScaler("cpu", enabled=dtype == torch.float16)
    with torch.autocast("cpu", dtype):
        error = error_of(module, x.to(dtype), arguments)
    scaler.scale(error).backward()
    scaler.unscale_(optimiser)
    before = {name: value.detach().clone() for name, value in module.named_parameters()}
    for name, value in module.named_parameters():
        assert (value.grad - exact[name]).norm() <= LOW_PRECISIONS[dtype] * exact[name].norm(), name
    scaler.step(optimiser)
    assert error.isfinite()
    assert not any(torch.equal(value, before[name]) for name, value in module.named_parameters())


def test_windows_may_be_mixed_in_another_precision_than_that_of_the_tokens():
    tokens = torch.randn(2, FRAMES, 4, dtype=torch.bfloat16)
    mixed = motion_inputs(views=overlapping()).in_views(tokens, lambda part: part.float())
    assert torch.equal(mixed, tokens)


@pytest.mark.parametrize("dtype", (None, torch.bfloat16), ids=str)
@in_views
@every
def test_checkpointing_changes_no_gradient_and_keeps_the_input_alone(key, views, dtype):
    module, x, arguments = trained_module(key), feature_maps().requires_grad_(), motion_inputs(views=views)
    results, kept = [], []
    for each in (module, GradientCheckpointing(module)):
        with torch.autocast("cpu", dtype, enabled=dtype is not None), torch.autograd.set_detect_anomaly(True):
            moved, size = kept_for_backward(module, lambda each=each: each(x, arguments))
            (moved - x.detach().flip(0)).square().mean().backward()
        results.append(gradients(module) | {"x": x.grad})
        kept.append(size)
        x.grad = None
    assert all(torch.equal(results[1][name], value) for name, value in results[0].items())
    assert kept[1] == x.nbytes < kept[0] / 2


def test_checkpointing_in_the_unet():
    model = tiny_model()
    unet, modules = model.model.diffusion_model, create_modules(untrained_motion(model, "scale_shift").specs)
    for value in modules.parameters():
        value.data.add_(0.05 * torch.randn(value.shape, generator=torch.Generator().manual_seed(1)))
    sites = {name: site for name, site in unet_sites(unet).items() if name in modules.by_site}
    x, context = noise(3), torch.randn(3, 7, CONTEXT_WIDTH, generator=torch.Generator().manual_seed(2))

    def predicted(checkpointing: bool) -> torch.Tensor:
        options = bare_options(sites, modules.by_site, MotionInputs(3), checkpointing)
        return unet(x, torch.full((3,), 500.0), context=context, transformer_options=options)

    results, kept = [], []
    for checkpointing in (False, True):
        result, size = kept_for_backward(nn.ModuleList([unet, modules]), lambda on=checkpointing: predicted(on))
        (result - x).square().mean().backward()
        results.append(gradients(modules))
        kept.append(size)
    assert all(torch.equal(results[1][name], value) for name, value in results[0].items())
    assert kept[1] < kept[0]
    with torch.no_grad():
        assert torch.equal(predicted(True), predicted(False))
