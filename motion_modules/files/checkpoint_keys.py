"""Keys of motion model files, in the spellings in which they are published.

The original spelling is that of the published AnimateDiff checkpoints:
`<site>.<architecture>.<parameter>`, with sites `down_blocks.i.motion_modules.j`,
`mid_block.motion_modules.0` and `up_blocks.i.motion_modules.j`. diffusers and Hotshot-XL leave out
the architecture, and have names of their own for some parameters.
"""

import re
from collections.abc import Collection, Container, Iterable, Mapping
from typing import NamedTuple

import torch

from ..architectures.architecture import PARTS_OF_DIFFUSERS
from ..architectures.stacking import split_stack_key
from ..contract import Tensors
from ..families import DIFFUSERS, HOTSHOT, ORIGINAL

TRANSFORMER = "temporal_transformer"
_module_key = r"(?:^|\.)((?:down_blocks|up_blocks)\.\d+|mid_block)\.(motion_modules|temporal_attentions)\.(\d+)\.(.+)$"
_flat_start = r"(?:(?:down_blocks|up_blocks)\d+|mid_block)(?:motion_modules|temporal_attentions)\d"
_diffusers_names = {
    ".attn1.": ".attention_blocks.0.",
    ".attn2.": ".attention_blocks.1.",
    ".norm1.": ".norms.0.",
    ".norm2.": ".norms.1.",
    ".norm3.": ".ff_norm.",
}
_table_names = ("pos_encoder.positional_encoding", "pos_encoder.pos_encoding")
_shared_table = "pos_embed.pe"


class FileKey(NamedTuple):
    """Key of a motion module's tensor, as a file spells it.

    `prefix` is what a trainer put before the site. `word` is what follows the site: an
    architecture, or where the file leaves that out a part of the transformer.
    """

    prefix: str
    site: str
    container: str
    word: str
    rest: str


class ModuleKey(NamedTuple):
    """Key of a motion module's tensor in the original spelling, `<site>.<architecture>.<parameter>`."""

    site: str
    architecture: str
    parameter: str


def parse_keys(keys: Collection[str]) -> dict[str, FileKey]:
    """Parse the keys of motion modules among the `keys` of a file.

    Keys without their dots, as LitEma writes them, are parsed by those of the same tensors with dots.
    """
    parsed: dict[str, FileKey] = {}
    for key in keys:
        match = re.search(_module_key, key)
        if match:
            block, container, index, name = match.groups()
            word, _, rest = name.partition(".")
            parsed[key] = FileKey(key[: match.start(1)], f"{block}.motion_modules.{index}", container, word, rest)
    return parsed | _parse_flat_keys(keys, parsed)


def _parse_flat_keys(keys: Collection[str], parsed: Mapping[str, FileKey]) -> dict[str, FileKey]:
    starts = {key: match.start() for key in keys if key not in parsed and (match := re.search(_flat_start, key))}
    flat = {key[len(each.prefix) :].replace(".", ""): each for key, each in parsed.items()} if starts else {}
    names = {key: flat.get(key[start:]) for key, start in starts.items()}
    return {key: each._replace(prefix=key[: starts[key]]) for key, each in names.items() if each is not None}


def recognise_spelling(keys: Collection[FileKey], architectures: Container[str]) -> str:
    """Return which of the three spellings a file has, where `architectures` can be used."""
    if any(key.container == "temporal_attentions" for key in keys):
        return HOTSHOT
    return ORIGINAL if any(_is_architecture(key.word, architectures) for key in keys) else DIFFUSERS


def find_foreign_architecture(keys: Iterable[FileKey], architectures: Iterable[str]) -> str | None:
    """Return the first word that is neither one of `architectures` nor a part of the transformer, or None.

    Beside known words, only a member of a stack counts: another word is a damaged key of the
    transformer.
    """
    known = {*architectures, *PARTS_OF_DIFFUSERS}
    stacks = [split_stack_key(word) for word in dict.fromkeys(key.word for key in keys)]
    any_known = any(member in known for stack in stacks for member in stack)
    candidates = (member for stack in stacks if len(stack) > 1 or not any_known for member in stack)
    return next((member for member in candidates if member not in known), None)


def respell(key: FileKey, architectures: Container[str]) -> ModuleKey:
    """Return `key` in the original spelling."""
    if key.word != TRANSFORMER and _is_architecture(key.word, architectures):
        return ModuleKey(key.site, key.word, key.rest)
    if key.word == TRANSFORMER:
        return ModuleKey(key.site, TRANSFORMER, _respell_table(key.rest))
    parameter = f"{key.word}.{key.rest}"
    for name, original in _diffusers_names.items():
        parameter = parameter.replace(name, original)
    return ModuleKey(key.site, TRANSFORMER, _respell_table(parameter))


def share_position_tables(tensors: Mapping[str, torch.Tensor]) -> Tensors:
    """Return the `tensors` of a transformer with a table of positions per attention; diffusers has one per block."""
    shared = {name: table for name, table in tensors.items() if name.endswith(_shared_table)}
    result = {name: tensor for name, tensor in tensors.items() if name not in shared}
    queries = [name for name in result if ".to_q." in name] if shared else []
    for name, table in shared.items():
        block = name.removesuffix(_shared_table)
        attentions = {query.partition(".to_q.")[0] for query in queries if query.startswith(block)}
        result |= {f"{attention}.pos_encoder.pe": table for attention in attentions}
    return result


def _is_architecture(word: str, architectures: Container[str]) -> bool:
    return all(member in architectures for member in split_stack_key(word))


def _respell_table(parameter: str) -> str:
    name = next((name for name in _table_names if parameter.endswith(name)), None)
    return f"{parameter.removesuffix(name)}pos_encoder.pe" if name else parameter
