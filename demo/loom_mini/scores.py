"""Which pictures and clips show what was asked for."""

from collections.abc import Mapping, Sequence

from .measures import ClipReading, Reading
from .world import Combination

Scores = dict[str, list[bool]]


def frame_scores(readings: Sequence[Reading], asked: Sequence[Combination]) -> Scores:
    pairs = list(zip(readings, asked, strict=True))
    return {
        "shape": [reading.shape == shape for reading, (shape, _, _) in pairs],
        "colour": [reading.colour == colour for reading, (_, colour, _) in pairs],
        "cue": [reading.cue == motion for reading, (_, _, motion) in pairs],
    }


def clip_scores(readings: Sequence[ClipReading], asked: Sequence[Combination]) -> Scores:
    """`steady`: colour and shape are the same in (nearly) all frames."""
    pairs = list(zip(readings, asked, strict=True))
    return {
        "motion": [reading.motion == motion for reading, (_, _, motion) in pairs],
        "colour": [reading.most_common("colour") == colour for reading, (_, colour, _) in pairs],
        "shape": [reading.most_common("shape") == shape for reading, (shape, _, _) in pairs],
        "steady": [reading.steady for reading in readings],
    }


def share(right: Sequence[bool]) -> float:
    return sum(right) / len(right)


def shares(scores: Mapping[str, Sequence[bool]]) -> str:
    return ", ".join(f"{name} {share(right):.0%}" for name, right in scores.items())


def table(scores: Scores, asked: Sequence[Combination], position: int, names: Sequence[str]) -> str:
    """A line for each of `names`, which stand at `position` of what was asked for: clips, shares of right ones."""
    lines = [f"| asked for | clips | {' | '.join(scores)} |", "|---" * (2 + len(scores)) + "|"]
    for name in names:
        own = [number for number, combination in enumerate(asked) if combination[position] == name]
        if own:
            cells = (f"{share([right[number] for number in own]):.0%}" for right in scores.values())
            lines.append(f"| {name} | {len(own)} | {' | '.join(cells)} |")
    return "\n".join(lines)
