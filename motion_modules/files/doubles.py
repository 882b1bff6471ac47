"""Weights that a file holds under two names: beside an average of training steps (EMA), or in two spellings."""

import re
from collections.abc import Mapping

import torch

from .checkpoint_keys import FileKey, ModuleKey

EMA = "ema"


def choose_keys(
    keys: Mapping[str, tuple[FileKey, ModuleKey]], tensors: Mapping[str, torch.Tensor]
) -> tuple[dict[str, ModuleKey], list[str]]:
    """Return the key in the file for each weight, and a note where the file has other values for some.

    Of two names the one of an EMA counts, otherwise that of the later part of the file.
    """
    names: dict[ModuleKey, list[str]] = {}
    for name, (_, module_key) in keys.items():
        names.setdefault(module_key, []).append(name)
    doubles = {module_key: group for module_key, group in names.items() if len(group) > 1}
    ranks = _rank_parts([key for key, _ in keys.values()]) if doubles else {}
    for group in doubles.values():
        group.sort(key=lambda name: ranks[_find_part(keys[name][0])])
    used = {group[-1]: module_key for module_key, group in names.items()}
    different = [group for group in doubles.values() if not _are_equal([tensors[name] for name in group])]
    return used, [_describe(different)] if different else []


def is_ema(name: str) -> bool:
    """Return whether `name`, such as `ema_state_dict.`, has the word ema in it."""
    return EMA in re.split(r"[^a-z]+", name.lower())


def _rank_parts(keys: list[FileKey]) -> dict[tuple[str, ...], tuple[bool, int]]:
    """Return the rank of every part of the file: EMA before all others, then by the place of its last key."""
    return {_find_part(key): (is_ema(key.prefix), place) for place, key in enumerate(keys)}


def _find_part(key: FileKey) -> tuple[str, ...]:
    return key.prefix, key.container


def _are_equal(tensors: list[torch.Tensor]) -> bool:
    first = tensors[0]
    return all(first is each or (first.dtype == each.dtype and torch.equal(first, each)) for each in tensors[1:])


def _describe(different: list[list[str]]) -> str:
    *_, unused, used = different[0]
    return f"{len(different)} weights are in the file under two names: '{used}' is used, not '{unused}'"
