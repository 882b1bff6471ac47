"""Every name of the host that the pack uses is in `host_contract.json`, and the host under test has it."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from host.checkout import ROOT

from tests.support.host_symbols import resolve, sources, used_attributes, used_symbols

FILE = Path(__file__).with_name("host_contract.json")
OBJECTS = ("comfy.model_patcher.ModelPatcher", "comfy.model_sampling.ModelSamplingDiscrete")
LIVE = ("BaseModel", "UNetModel", "ResBlock", "CFGGuider")


@pytest.fixture(scope="module")
def contract() -> dict[str, Any]:
    return json.loads(FILE.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def texts() -> list[str]:
    return [file.read_text(encoding="utf-8") for file in sources(ROOT)]


def test_contract_names_every_symbol(contract: dict[str, Any], texts: list[str]):
    used = sorted(set().union(*map(used_symbols, texts)))
    assert contract["symbols"] == used, f"{FILE.name} differs from the sources:\n{json.dumps(used, indent=2)}"


@pytest.mark.parametrize("name", OBJECTS)
def test_contract_names_every_method(name: str, contract: dict[str, Any], texts: list[str]):
    attributes = set().union(*map(used_attributes, texts))
    of_the_host = set(dir(resolve(name))) - set(dir(torch.nn.Module))
    assert contract["methods"][name] == sorted(attributes & of_the_host), FILE.name


@pytest.fixture(scope="module")
def live_objects() -> dict[str, Any]:
    """Objects that the host makes when it samples, with attributes that instances have but classes do not."""
    from comfy.ldm.modules.diffusionmodules.openaimodel import ResBlock
    from comfy.samplers import CFGGuider

    from tests.support.host import tiny_model

    model = tiny_model()
    unet = model.model.diffusion_model
    block = next(module for module in unet.modules() if isinstance(module, ResBlock))
    return dict(zip(LIVE, (model.model, unet, block, CFGGuider(model)), strict=True))


@pytest.mark.parametrize("name", LIVE)
def test_contract_names_every_attribute(name: str, contract: dict[str, Any], texts: list[str], live_objects):
    attributes = set().union(*map(used_attributes, texts))
    of_the_host = set(dir(live_objects[name])) - set(dir(torch.nn.Module()))
    assert contract["attributes"][name] == sorted(attributes & of_the_host), FILE.name


def test_host_has_every_symbol(contract: dict[str, Any]):
    for symbol in contract["symbols"]:
        resolve(symbol)
    for name, methods in contract["methods"].items():
        missing = [method for method in methods if not hasattr(resolve(name), method)]
        assert not missing, f"{name} has no {missing}"


def test_symbols_are_found_in_sources():
    source = "import comfy.ops\nfrom comfy_api.latest import io as sockets\nfrom .own import x\n"
    used = "comfy.ops.manual_cast.Linear(1)\nsockets.Combo.Input('a')\nx.y.z\ncomfy.ops\n"
    assert used_symbols(source + used) == {"comfy.ops.manual_cast.Linear", "comfy_api.latest.io.Combo.Input"}
