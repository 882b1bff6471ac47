"""Scores of pictures and clips against their prompts."""

from collections.abc import Mapping, Sequence

from .measures import ClipReading, Reading
from .world import Combination

Scores = dict[str, list[bool]]


def score_frames(readings: Sequence[Reading], asked: Sequence[Combination]) -> Scores:
    pairs = list(zip(readings, asked, strict=True))
    return {
        "shape": [reading.shape == shape for reading, (shape, _, _) in pairs],
        "colour": [reading.colour == colour for reading, (_, colour, _) in pairs],
        "cue": [reading.cue == motion for reading, (_, _, motion) in pairs],
    }


def score_clips(readings: Sequence[ClipReading], asked: Sequence[Combination]) -> Scores:
    """Score clips; `steady`: colour and shape stay the same in (nearly) all frames."""
    pairs = list(zip(readings, asked, strict=True))
    return {
        "motion": [reading.motion == motion for reading, (_, _, motion) in pairs],
        "colour": [reading.most_common("colour") == colour for reading, (_, colour, _) in pairs],
        "shape": [reading.most_common("shape") == shape for reading, (shape, _, _) in pairs],
        "steady": [reading.steady for reading in readings],
    }


def share(right: Sequence[bool]) -> float:
    return sum(right) / len(right)


def format_shares(scores: Mapping[str, Sequence[bool]]) -> str:
    return ", ".join(f"{name} {share(right):.0%}" for name, right in scores.items())


def format_table(scores: Scores, asked: Sequence[Combination], position: int, names: Sequence[str]) -> str:
    """Return a table with a row per name at `position` of the combinations: clips, and shares of correct ones."""
    lines = [f"| asked for | clips | {' | '.join(scores)} |", "|---" * (2 + len(scores)) + "|"]
    for name in names:
        rows = [number for number, combination in enumerate(asked) if combination[position] == name]
        if rows:
            cells = (f"{share([right[number] for number in rows]):.0%}" for right in scores.values())
            lines.append(f"| {name} | {len(rows)} | {' | '.join(cells)} |")
    return "\n".join(lines)
