"""The figure of a projection: time and memory over the number of devices."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from bench.projection.amounts import Range
from bench.projection.estimate import AtCount, Estimate
from reports.grids.estimate import span_text
from reports.plots.figure import GREY, PALETTE, Plot, format_axis, render

_MAX_TICKS = 10


def draw_estimate(found: Estimate) -> Plot | None:
    """Draw the time of the training, or of a step, and the memory of a device; None without two counts."""
    counts = found.counts
    if len(counts) < 2:
        return None
    return render(
        "estimate",
        f"Projected training of {found.model}",
        "Left: the range between the utilizations that are usual, or were measured. Right: the peak memory "
        "of one device; hollow where it does not fit. The dashed line is what a device has.",
        lambda: _figure(found, counts),
    )


def _figure(found: Estimate, counts: tuple[AtCount, ...]) -> Figure:
    figure = Figure(figsize=(9.6, 3.8), layout="constrained")
    left, right = figure.subplots(1, 2)
    sizes = [own.devices for own in counts]
    whole = all(own.training_s is not None for own in counts)
    spans = [(own.training_s if whole else None) or own.step.seconds for own in counts]
    _draw_times(left, sizes, spans)
    left.set_ylabel("time of the training" if whole else "time of a step")
    _draw_memory(right, counts)
    right.axhline(found.memory.available_bytes, color=GREY, linestyle="--", linewidth=1)
    for axes in (left, right):
        axes.set_xscale("log")
        axes.set_xlabel(f"devices ({found.device})")
        axes.xaxis.set_major_locator(FixedLocator(sizes[:: -(-len(sizes) // _MAX_TICKS)]))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
        axes.xaxis.set_minor_locator(NullLocator())
    return figure


def _draw_times(axes: Axes, sizes: list[int], spans: list[Range]) -> None:
    low, high = [span.low for span in spans], [span.high for span in spans]
    axes.fill_between(sizes, low, high, color=PALETTE[0], alpha=0.25, linewidth=0)
    for bound in (low, high):
        axes.plot(sizes, bound, color=PALETTE[0], marker="o", markersize=4)
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: span_text(value)))
    axes.yaxis.set_minor_locator(NullLocator())


def _draw_memory(axes: Axes, counts: tuple[AtCount, ...]) -> None:
    sizes, memory = [own.devices for own in counts], [own.memory_bytes for own in counts]
    axes.plot(sizes, memory, color=PALETTE[1])
    for own in counts:
        face = PALETTE[1] if own.fits else "white"
        axes.plot(own.devices, own.memory_bytes, "s", color=PALETTE[1], markerfacecolor=face)
    axes.set_yscale("log")
    format_axis(axes, "y", "peak_tensor_bytes", log=True)
    axes.set_ylabel("memory of one device")
