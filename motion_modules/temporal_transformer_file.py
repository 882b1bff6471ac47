"""The temporal transformer in files: its shape, and the tables that some files lack."""

from dataclasses import dataclass

from .contract import NewSite, Shapes, Tensors, Training
from .positional_encoding import trusted_positions

LARGEST_POSITIONS = 4096
LARGEST_COUNT = 16  # of blocks, and of attentions in a block


@dataclass(frozen=True)
class TemporalTransformerConfig:
    """Shape of one temporal transformer; `positions` is the largest number of frames that it has encodings for."""

    channels: int
    positions: int
    blocks: int = 1
    attentions: int = 2
    heads: int = 8
    norm_groups: int = 32
    norm_over_frames: bool = False

    @classmethod
    def for_site(cls, site: NewSite) -> "TemporalTransformerConfig":
        return cls(site.channels, site.positions)

    @classmethod
    def from_shapes(cls, shapes: Shapes, training: Training) -> "TemporalTransformerConfig":
        """Positions come from the shortest table, and without tables from the training."""
        channels, _ = shapes["proj_in.weight"]
        if channels % 32:
            raise ValueError(f"{channels} channels are not divisible by 32 norm groups")
        blocks, attentions = _counts(shapes)
        tables = [shape[1] for key, shape in shapes.items() if key.endswith("pos_encoder.pe")]
        if max(tables, default=0) > LARGEST_POSITIONS:
            raise ValueError(f"{max(tables)} positions are more than {LARGEST_POSITIONS}")
        positions = min(tables, default=training.default_positions)
        return cls(channels, positions, blocks, attentions, norm_over_frames=training.joint_module_norm)


def _counts(shapes: Shapes) -> tuple[int, int]:
    """Blocks, and attentions in a block."""
    numbers = [key.split(".") for key in shapes if key.startswith("transformer_blocks.")]
    blocks = 1 + max(int(parts[1]) for parts in numbers)
    attentions = 1 + max(int(parts[3]) for parts in numbers if parts[2] == "attention_blocks")
    if blocks > LARGEST_COUNT or attentions > LARGEST_COUNT:
        raise ValueError(f"{blocks} blocks of {attentions} attentions are more than {LARGEST_COUNT}")
    return blocks, attentions


def complete(tensors: Tensors, config: TemporalTransformerConfig) -> Tensors:
    """`tensors` with a positional encoding for every attention, which some files lack or hold in low precision."""
    keys = [
        f"transformer_blocks.{block}.attention_blocks.{attention}.pos_encoder.pe"
        for block in range(config.blocks)
        for attention in range(config.attentions)
    ]
    return tensors | {key: trusted_positions(tensors.get(key), config.positions, config.channels) for key in keys}
