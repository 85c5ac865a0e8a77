"""Figures of a run: training curves, cost of reaching the target, quality against cost, memory."""

from reports.plots.draw import draw_all
from reports.plots.figure import Plot

__all__ = ["Plot", "draw_all"]
