"""Adapters that follow a camera have a layer for each motion module, which files keep under its site."""

import re

from ..contract import Tensors

CAMERA_NODE = "Camera Control"

_site_pattern = r"(?:down_blocks|up_blocks)\.\d+\.motion_modules\.\d+"


def to_layer_name(site: str) -> str:
    """Return the name of the layer for `site` in a ModuleDict, where dots are not allowed."""
    return site.replace(".", "-")


def site_of(key: str) -> str:
    """Return the site of the key `<layers>.<site>.<parameter>` of a module's tensor."""
    return key.split(".")[1].replace("-", ".")


def read_site_layers(tensors: Tensors, layer: str, name: str) -> Tensors:
    """Return the tensors of the `layer` of each motion module, as those of a ModuleDict called `name`."""
    layers: Tensors = {}
    for key, tensor in tensors.items():
        site, _, parameter = key.partition(f".{layer}.") if f".{layer}." in key else ("", "", "")
        if match := re.search(_site_pattern, site):
            layers[f"{name}.{to_layer_name(match[0])}.{parameter}"] = tensor
    return layers
