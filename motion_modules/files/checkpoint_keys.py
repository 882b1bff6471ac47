"""From the spellings of motion model files to one: that of the published AnimateDiff checkpoints.

A tensor is named `<site>.<architecture>.<parameter>`, with sites `down_blocks.i.motion_modules.j`,
`mid_block.motion_modules.0` and `up_blocks.i.motion_modules.j`.
"""

import re
from collections.abc import Collection, Iterable, Mapping

import torch

from ..architectures.architecture import PARTS_OF_DIFFUSERS
from ..architectures.registry import architectures
from ..architectures.stacking import keys_in
from ..families import DIFFUSERS, HOTSHOT, ORIGINAL

_site = re.compile(
    r"(?:^|\.)((?:down_blocks|up_blocks)\.\d+|mid_block)\.(motion_modules|temporal_attentions)\.(\d+)\.(.+)$"
)
_diffusers_names = (
    (re.compile(r"\.attn(\d)\."), lambda match: f".attention_blocks.{int(match[1]) - 1}."),
    (re.compile(r"\.norm([12])\."), lambda match: f".norms.{int(match[1]) - 1}."),
    (re.compile(r"\.norm3\."), lambda match: ".ff_norm."),
)
_transformer = "temporal_transformer"
_position_names = re.compile(r"pos_encoder\.(positional_encoding|pos_encoding)$")


def flatten_tensors(checkpoint: Mapping, prefix: str = "") -> dict[str, torch.Tensor]:
    """The tensors of a file by dotted key, out of the dictionaries that trainers put around them."""
    tensors: dict[str, torch.Tensor] = {}
    for key, value in checkpoint.items():
        if isinstance(value, Mapping):
            tensors |= flatten_tensors(value, f"{prefix}{key}.")
        elif isinstance(value, torch.Tensor):
            tensors[f"{prefix}{key}"] = value
    return tensors


def spelling_of(keys: Mapping[str, object]) -> str:
    """Which of the three spellings a file's motion tensors use."""
    matches = [match for match in map(_site.search, keys) if match]
    if any(match[2] == "temporal_attentions" for match in matches):
        return HOTSHOT
    known = architectures().usable
    named = any(all(key in known for key in _keys(match[4])) for match in matches)
    return ORIGINAL if named else DIFFUSERS


def foreign_architecture(keys: Iterable[str]) -> str | None:
    """The first key that nobody has registered: of a member of a stack, or in a file with no others; else None."""
    known = {*architectures().usable, *PARTS_OF_DIFFUSERS}
    found = dict.fromkeys(tuple(_keys(match[4])) for match in map(_site.search, keys) if match)
    alone = not any(key in known for members in found for key in members)
    foreign = ((key, len(members) > 1) for members in found for key in members if key not in known)
    return next((key for key, in_stack in foreign if in_stack or alone), None)


def motion_tensors(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The motion tensors of a file in the original spelling; whatever else the file holds is left out."""
    known = architectures().usable
    renamed: dict[str, torch.Tensor] = {}
    shared_positions: dict[str, torch.Tensor] = {}
    for key, tensor in tensors.items():
        match = _site.search(key)
        if match is None:
            continue
        name = f"{match[1]}.motion_modules.{match[3]}.{_original_parameter(match[4], known)}"
        shared = f".{_transformer}." in name and name.endswith(".pos_embed.pe")
        (shared_positions if shared else renamed)[name] = tensor
    return renamed | _per_attention(shared_positions, renamed)


def _original_parameter(parameter: str, known: Collection[str]) -> str:
    keys = _keys(parameter)
    if keys != [_transformer] and all(key in known for key in keys):
        return parameter
    if not parameter.startswith(f"{_transformer}."):
        parameter = f"{_transformer}.{parameter}"
        for pattern, replacement in _diffusers_names:
            parameter = pattern.sub(replacement, parameter)
    return _position_names.sub("pos_encoder.pe", parameter)


def _keys(parameter: str) -> list[str]:
    return keys_in(parameter.partition(".")[0])


def _per_attention(shared: dict[str, torch.Tensor], renamed: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """diffusers keeps one table of positions per block where the original keeps one per attention."""
    tables = {}
    for name, table in shared.items():
        block = name.removesuffix("pos_embed.pe")
        attentions = {key[: key.index(".to_q.")] for key in renamed if key.startswith(block) and ".to_q." in key}
        tables |= {f"{attention}.pos_encoder.pe": table for attention in attentions}
    return tables
