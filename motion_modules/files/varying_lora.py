"""A motion LoRA whose strength varies: its low-rank factors by site and layer, taken from the host's adapters."""

from collections.abc import Mapping
from typing import Any

from comfy.model_patcher import ModelPatcher
from torch import nn

from ..errors import FileFault
from ..unet.low_rank import LowRankPart, Parts
from ..unet.variation import Variation

NAMES = {"loha": "LoHa", "lokr": "LoKr"}


def is_constant(variation: Variation) -> bool:
    """Return whether a variation differs between sites only, so that patches of the weights can hold it."""
    return not (variation.changes_over_sampling or variation.differs_by_token)


def read_constant(variation: Variation) -> float:
    """Return the factor that all sites share, of a variation that is constant."""
    drawn = variation.draw(1, 1, 1)
    return variation.scale_at(0.0) * (1.0 if drawn is None else float(drawn))


def split_by_site(adapters: Mapping[str, Any], sites: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return `adapters`, named `<site>.<architecture>.<layer>.weight`, by site and layer."""
    by_site: dict[str, dict[str, Any]] = {}
    for name, adapter in adapters.items():
        site = next(site for site in sites if name.startswith(f"{site}."))
        _, _, layer = name.removeprefix(f"{site}.").removesuffix(".weight").partition(".")
        by_site.setdefault(site, {})[layer] = adapter
    return by_site


def read_parts(adapters: Mapping[str, Any], sites: Mapping[str, Any], patcher: ModelPatcher) -> dict[str, Parts]:
    """Return the low-rank parts of `adapters` by site; raise FileFault for another kind of change."""
    for name, adapter in adapters.items():
        layer = name.removesuffix(".weight")
        if not isinstance(patcher.model.get_submodule(layer), nn.Linear):
            raise _describe_varying(f"changes '{layer}', not a linear layer")
        _require_low_rank(layer, adapter)
    return {
        site: {layer: _read_part(adapter) for layer, adapter in layers.items()}
        for site, layers in split_by_site(adapters, sites).items()
    }


def _read_part(adapter: Any) -> LowRankPart:
    up, down, alpha, *_ = adapter.weights
    return LowRankPart(down, up, 1.0 if alpha is None else float(alpha) / len(down))


def _require_low_rank(layer: str, adapter: Any) -> None:
    """Refuse what has no factors to multiply tokens by, or does not add to the weight in proportion to its strength."""
    if isinstance(adapter, tuple):
        raise _describe_varying(f"has a whole difference for '{layer}'")
    if adapter.name != "lora":
        raise _describe_varying(f"is a {NAMES.get(adapter.name, adapter.name)}")
    _, _, _, mid, dora_scale, *_ = adapter.weights
    if dora_scale is not None:
        raise _describe_varying("is a DoRA")
    if mid is not None:
        raise _describe_varying(f"has a third factor for '{layer}'")


def _describe_varying(fault: str) -> FileFault:
    return FileFault(
        f"{fault}, so its strength cannot vary over frames, places or sampling. Disconnect `motion_strength`, or use a "
        "LoRA with an up and a down factor for each layer."
    )
