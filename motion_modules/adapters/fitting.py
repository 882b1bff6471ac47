"""Check that a motion model has the modules that an adapter with layers for them was made for."""

from collections.abc import Mapping

from ..architectures.stacking import list_members
from ..motion_model import ModuleSpec
from .adapter import AdapterSpec

MIXING = "temporal_transformer"  # the architecture that mixes features of adapters in


def describe_misfit(adapter: AdapterSpec, specs: Mapping[str, ModuleSpec], name: str) -> str:
    """Return what the adapter expects of the modules `specs` of motion model `name` and they are not, or "".

    In a stack, the first module gets the features.
    """
    for site, channels in getattr(adapter.config, "sites", ()):
        module = specs.get(site)
        if module is None or list_members(module.architecture)[0].key != MIXING or module.channels != channels:
            actual = f"a {module.architecture.key} of {module.channels} channels" if module else "no motion module"
            return f"is for a {MIXING} of {channels} channels at '{site}', where motion model '{name}' has {actual}"
    return ""
