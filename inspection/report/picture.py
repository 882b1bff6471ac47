"""A run of a sampler as pictures: what every motion module did in every step, its cost, and who looks at whom."""

import math
from collections.abc import Sequence

import torch

from ...motion_modules.unet.site_patterns import short_name
from ...motion_modules.watching.attention_maps import AttentionMap
from ..figures.heat_maps import Bars, HeatMap, Square, side_by_side, squares
from ..figures.plots import HUES, Panel, figure
from .run import ReportRun, SiteRecord
from .text import motions

HEADS_IN_A_ROW, MAP = 8, 186
MOST_PAGES = 48


def draw(run: ReportRun) -> torch.Tensor:
    """`[motion models, height, width, 3]`: a page for each, or one that says that none ran."""
    pages = [[record for record in run.records.values() if record.motion == motion] for motion in motions(run)]
    if not pages:
        return figure("Sampling report", "No motion module ran: there is none on this model, or none is active.", [])
    rows = max(map(len, pages))
    return _alike([_page(run, records, rows) for records in pages])


def draw_attention(run: ReportRun) -> torch.Tensor:
    """`[sites, height, width, 3]`: a page for each site, or one that says how to get them."""
    if not run.maps:
        words = "None were drawn: switch on attention_maps of Sampling Report, with sites that exist and attend."
        return figure("Attention between frames", words, [])
    places = list(dict.fromkeys((own.owner, own.site) for own in run.maps))[:MOST_PAGES]
    pages = [[own for own in run.maps if (own.owner, own.site) == place] for place in places]
    rows = max(sum(_rows(own) for own in page) for page in pages)
    most = max(map(len, pages))
    return _alike([_attention_page(run, page, rows, most) for page in pages])


def _page(run: ReportRun, records: Sequence[SiteRecord], rows: int) -> torch.Tensor:
    facts, names = run.facts, [short_name(record.site) for record in records]
    title = f"Sampling report, run {run.number}: {records[0].motion}"
    words = (
        f"{facts.frames} frames, {facts.steps} steps, {run.evaluations} evaluations, {run.seconds:.1f} s. Rows are "
        "motion modules in the order in which they run, named level.index; columns are steps. "
    )
    words += run.bad.sentence() if run.bad else "No NaN or Inf."

    def heat(name: str, title: str, unit: str) -> Panel:
        return HeatMap(title, unit, names, [_over_steps(record, name, facts.steps) for record in records]).panel(rows)

    milliseconds = [record.total().milliseconds for record in records]
    memory = [None if record.peak_bytes is None else record.peak_bytes / 2**20 for record in records]
    return figure(
        title,
        words,
        [
            side_by_side(
                heat("change", "Change", "of the input, |out - in| / |in|"),
                heat("deviation_out", "Deviation", "of the output"),
            ),
            side_by_side(
                heat("largest_in", "Largest value in", "absolute"), heat("largest_out", "Largest value out", "absolute")
            ),
            side_by_side(
                Bars("Time", "ms for one run of the module", names, milliseconds).panel(rows),
                Bars("Peak memory", "MiB beyond what was there", names, memory, HUES[1]).panel(rows),
            ),
        ],
    )


def _over_steps(record: SiteRecord, name: str, steps: int) -> list[float | None]:
    """A value for every step; None where the module did not run, NaN where it was no number."""
    found = {step: sums.numbers()[name] for step, sums in record.steps.items()}
    return [math.nan if step in found and found[step] is None else found.get(step) for step in range(max(1, steps))]


def _attention_page(run: ReportRun, maps: Sequence[AttentionMap], rows: int, most: int) -> torch.Tensor:
    motion = run.facts.motions.get(maps[0].owner, maps[0].owner)
    words = (
        "Mean over positions, prompts and steps. Row: the frame that looks; column: the frame that it looks at; "
        "bright: much. Bright diagonal: frames look at themselves and their neighbours; bright columns: all look at "
        "the same frames. Above each head: its largest weight / its reach, the mean distance in frames."
    )
    panels = [_heads(number, own) for number, own in enumerate(maps)]
    missing = (rows - sum(_rows(own) for own in maps)) * MAP + (most - len(maps)) * 44
    return figure(
        f"Attention between frames: {short_name(maps[0].site)} of {motion}", words, [*panels, Panel(missing, _nothing)]
    )


def _heads(number: int, own: AttentionMap) -> Panel:
    found = [
        Square(f"head {head}: {float(weights.max()):.2f} / {reach:.1f}", weights.nan_to_num().numpy())
        for head, (weights, reach) in enumerate(zip(own.weights, own.reach, strict=True))
    ]
    return squares(f"Attention {number + 1}", own.attention, found, HEADS_IN_A_ROW, MAP)


def _rows(own: AttentionMap) -> int:
    return -(-len(own.weights) // HEADS_IN_A_ROW)


def _nothing(pen, box) -> None:
    """Room that a page with fewer maps leaves free."""


def _alike(pages: Sequence[torch.Tensor]) -> torch.Tensor:
    """Pages whose heading took another number of lines, filled up below to one height."""
    height = max(page.shape[1] for page in pages)
    return torch.cat([_filled(page, height) for page in pages])


def _filled(page: torch.Tensor, height: int) -> torch.Tensor:
    rest = page[:, -1:].expand(-1, height - page.shape[1], -1, -1)
    return torch.cat((page, rest), dim=1)
