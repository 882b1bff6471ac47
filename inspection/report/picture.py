"""A run of a sampler as pictures: motion modules step by step, their cost, and attention between frames."""

import math
from collections.abc import Sequence

import torch

from ...motion_modules.unet.site_patterns import short_name
from ...motion_modules.watching.attention_maps import AttentionMap
from ..figures.figure import Panel, draw_figure, join_panels, leave_room, stack_pages
from ..figures.matrix import Matrix, tile_matrices
from ..figures.style import HUES
from ..figures.table import BarChart, HeatMap
from .run import ReportRun
from .statistics import SiteRecord
from .text import NOTHING_RAN

HEADS_PER_ROW, MAP_HEIGHT = 8, 186
MAX_PAGES = 48


def draw(run: ReportRun) -> torch.Tensor:
    """Draw `[motion models, height, width, 3]`: a page for each, or one that says that none ran."""
    pages = [[record for record in run.records.values() if record.motion == motion] for motion in run.motions]
    if not pages:
        return draw_figure("Sampling report", NOTHING_RAN, [])
    rows = max(map(len, pages))
    return stack_pages([_draw_page(run, records, rows) for records in pages])


def draw_attention(run: ReportRun) -> torch.Tensor:
    """Draw `[sites, height, width, 3]`: a page for each site, or one that says how to get them."""
    if not run.maps:
        remark = "None recorded. Switch on attention_maps of Sampling Report, for sites whose modules have attention."
        return draw_figure("Attention between frames", remark, [])
    sites = list(dict.fromkeys((each.owner, each.site) for each in run.maps))[:MAX_PAGES]
    pages = [[each for each in run.maps if (each.owner, each.site) == site] for site in sites]
    height = max(sum(panel.height for panel in _draw_heads(page)) for page in pages)
    return stack_pages([_draw_attention_page(run, page, height) for page in pages])


def _draw_page(run: ReportRun, records: Sequence[SiteRecord], rows: int) -> torch.Tensor:
    facts, names = run.facts, [short_name(record.site) for record in records]
    remark = (
        f"{facts.frames} frames, {facts.steps} steps, {run.evaluations} evaluations, {run.seconds:.1f} s. Rows are "
        "motion modules in the order in which they run; columns are steps. "
    )
    remark += run.bad.describe() if run.bad else "No NaN or Inf."

    def heat(name: str, title: str, unit: str) -> Panel:
        return HeatMap(title, unit, names, [_collect_steps(record, name, facts.steps) for record in records]).panel(
            rows
        )

    milliseconds = [record.total().milliseconds for record in records]
    memory = [None if record.peak_bytes is None else record.peak_bytes / 2**20 for record in records]
    panels = [
        join_panels(
            heat("change", "Change", "of the input, |out - in| / |in|"),
            heat("deviation_out", "Deviation", "of the output"),
        ),
        join_panels(
            heat("largest_in", "Largest value in", "absolute"), heat("largest_out", "Largest value out", "absolute")
        ),
        join_panels(
            BarChart("Time", "ms per call of the module", names, milliseconds).panel(rows),
            BarChart("Peak memory", "MiB allocated by the module", names, memory, HUES[1]).panel(rows),
        ),
    ]
    return draw_figure(f"Sampling report, run {run.number}: {records[0].motion}", remark, panels)


def _collect_steps(record: SiteRecord, name: str, steps: int) -> list[float | None]:
    """Return a value for each step: None where the module did not run, NaN where it is not finite."""
    values = {step: sums.numbers()[name] for step, sums in record.steps.items()}
    return [math.nan if step in values and values[step] is None else values.get(step) for step in range(max(1, steps))]


def _draw_attention_page(run: ReportRun, maps: Sequence[AttentionMap], height: int) -> torch.Tensor:
    remark = (
        "Mean over positions, prompts and steps. Row: frame that attends; column: frame that it attends to; brighter: "
        "more attention. Bright diagonal: frames attend to themselves and their neighbours; bright columns: all attend "
        "to the same frames. Above each head: its largest weight / its reach, the mean distance in frames."
    )
    panels = _draw_heads(maps)
    title = f"Attention between frames: {short_name(maps[0].site)} of {run.name_motion(maps[0].owner)}"
    return draw_figure(title, remark, [*panels, leave_room(height - sum(panel.height for panel in panels))])


def _draw_heads(maps: Sequence[AttentionMap]) -> list[Panel]:
    """Draw a panel for each attention of a motion module, with a matrix for each head."""
    panels = []
    for number, each in enumerate(maps, 1):
        titles = [
            f"head {head}: {float(weights.max()):.2f} / {reach:.1f}"
            for head, (weights, reach) in enumerate(zip(each.weights, each.reach, strict=True))
        ]
        heads = [Matrix(*pair) for pair in zip(titles, each.weights.nan_to_num().numpy(), strict=True)]
        panels.append(tile_matrices(f"Attention {number}", each.attention, heads, HEADS_PER_ROW, MAP_HEIGHT))
    return panels
