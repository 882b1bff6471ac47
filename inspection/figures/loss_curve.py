"""Plot of the loss of a training run."""

from collections.abc import Sequence

import torch

from .figure import draw_figure
from .line_plot import Curve, LinePlot
from .style import GREY, HUES

POINTS = 1000  # of a curve, each of which stands for several steps of a longer run


def draw_losses(losses: Sequence[float], means: Sequence[float], remark: str) -> torch.Tensor:
    """Return an IMAGE of the loss of every step and of its running mean."""
    stride = -(-len(losses) // POINTS)
    curves = [Curve("step", losses[::stride], GREY), Curve("running mean", means[::stride], HUES[0])]
    label = "step" if stride == 1 else f"step, divided by {stride}"
    plot = LinePlot("Loss", "mean squared error of the noise", curves, last=len(curves[0].values) - 1, x_label=label)
    return draw_figure("Training", remark, [plot.panel(420)])
