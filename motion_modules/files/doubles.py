"""Weights that a file holds under two names: beside an average of training steps (EMA), or in two spellings."""

import re
from collections.abc import Mapping

import torch

from .checkpoint_keys import FileKey, ModuleKey

WORDS_OF_EMA = {"ema", "emamodel", "modelema"}
TABLE = ".pe"  # positions, which training does not change and an EMA may leave out

Keys = Mapping[str, tuple[FileKey, ModuleKey]]


def choose_keys(keys: Keys, tensors: Mapping[str, torch.Tensor]) -> tuple[dict[str, ModuleKey], list[str]]:
    """Return the key in the file for each weight, and notes where the file has other values for some.

    Of two names the one of an EMA counts if that EMA has all weights, otherwise that of the later
    part of the file.
    """
    names: dict[ModuleKey, list[str]] = {}
    for name, (_, module_key) in keys.items():
        names.setdefault(module_key, []).append(name)
    doubles = {module_key: group for module_key, group in names.items() if len(group) > 1}
    missing = _find_missing(keys) if doubles else {}
    ranks = _rank_parts([key for key, _ in keys.values()], missing)
    for group in doubles.values():
        group.sort(key=lambda name: ranks[_find_part(keys[name][0])])
    used = {group[-1]: module_key for module_key, group in names.items()}
    different = [group for group in doubles.values() if not _are_equal([tensors[name] for name in group])]
    partial = [_describe_partial(prefix, weights, len(names)) for prefix, weights in missing.items() if weights]
    return used, [*partial, _describe(different)] if different else []


def is_ema(name: str) -> bool:
    """Return whether `name`, such as `ema_state_dict.` or `EMAModel.`, has the word ema in it."""
    words = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name)
    return any(word.lower() in WORDS_OF_EMA for word in words)


def _find_missing(keys: Keys) -> dict[str, list[ModuleKey]]:
    """Return the weights that each EMA of the file lacks, by the prefix of the EMA."""
    emas = {key.prefix: set[ModuleKey]() for key, _ in keys.values() if is_ema(key.prefix)}
    for key, module_key in keys.values():
        if key.prefix in emas:
            emas[key.prefix].add(module_key)
    weights = dict.fromkeys(each for _, each in keys.values() if not each.parameter.endswith(TABLE))
    return {prefix: [each for each in weights if each not in covered] for prefix, covered in emas.items()}


def _rank_parts(
    keys: list[FileKey], missing: Mapping[str, list[ModuleKey]]
) -> dict[tuple[str, ...], tuple[bool, bool, int]]:
    """Return the rank of every part of the file: whole EMA before all others, then by the place of its last key."""
    return {
        _find_part(key): (missing.get(key.prefix) == [], key.prefix not in missing, place)
        for place, key in enumerate(keys)
    }


def _find_part(key: FileKey) -> tuple[str, ...]:
    return key.prefix, key.container


def _are_equal(tensors: list[torch.Tensor]) -> bool:
    first = tensors[0]
    return all(first is each or (first.dtype == each.dtype and torch.equal(first, each)) for each in tensors[1:])


def _describe(different: list[list[str]]) -> str:
    *_, unused, used = different[0]
    return f"{len(different)} weights are in the file under two names: '{used}' is used, not '{unused}'"


def _describe_partial(prefix: str, missing: list[ModuleKey], total: int) -> str:
    return (
        f"the EMA '{prefix}' lacks {len(missing)} of {total} weights, such as '{'.'.join(missing[0])}', "
        "and is not mixed with the others"
    )
