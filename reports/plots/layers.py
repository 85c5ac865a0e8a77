"""The figure of layers: what it costs to round or prune each of them alone."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullLocator

from bench.formatting import three_digits
from bench.models.sensitivity import BITS, SPARSITY, LayerLoss, most_sensitive_first
from reports.plots.figure import GREY, MARKERS, PALETTE, Plot, fewer, render, shorten

MAX_NAMED, MAX_LAYERS = 8, 200
"""Layers that have a colour and a name, and layers that are drawn."""

_LABELS = {BITS: "bits of a weight", SPARSITY: "share of weights set to 0"}


def draw_layers(cell: str, losses: Sequence[LayerLoss]) -> Plot:
    """Draw the loss of each layer over bits, and over sparsity; `losses` is not empty."""
    by_quality = losses[0].loss_points is not None
    what = "quality loss in points" if by_quality else "relative error of the outputs"
    layers = most_sensitive_first(losses)
    caption = f"One line a layer: the {what} where its weights alone are changed. Grey: less sensitive ones."
    caption += fewer(len(layers[:MAX_LAYERS]), len(layers), "layers", "most sensitive")
    return render(
        f"layers-{cell}",
        f"Sensitivity of layers: {cell}",
        caption,
        lambda: _figure(losses, layers[:MAX_LAYERS], what),
    )


def _figure(losses: Sequence[LayerLoss], layers: Sequence[str], what: str) -> Figure:
    changes = list(dict.fromkeys(loss.change for loss in losses))
    figure = Figure(figsize=(4.2 * len(changes) + 2.8, 4), layout="constrained")
    panels = figure.subplots(1, len(changes), sharey=True, squeeze=False).flat
    for axes, change in zip(panels, changes, strict=True):
        own = [loss for loss in losses if loss.change == change]
        for place, layer in reversed(list(enumerate(layers))):
            _line(axes, [loss for loss in own if loss.layer == layer], place)
        _axis(axes, change, sorted({loss.amount for loss in own}))
    panels[0].set_ylabel(what)
    handles = {line.get_label(): line for axes in panels for line in axes.get_lines()}
    named = [handles[label] for label in map(shorten, layers[:MAX_NAMED])]
    figure.legend(handles=named, loc="outside right upper")
    return figure


def _line(axes: Axes, losses: Sequence[LayerLoss], place: int) -> None:
    named = place < MAX_NAMED
    values = [loss.relative_error if loss.loss_points is None else loss.loss_points for loss in losses]
    axes.plot(
        [loss.amount for loss in losses],
        values,
        marker=MARKERS[place] if named else None,
        markersize=4.5,
        color=PALETTE[place] if named else GREY,
        linewidth=1.6 if named else 0.7,
        label=shorten(losses[0].layer) if named else "_",
    )


def _axis(axes: Axes, change: str, amounts: Sequence[float]) -> None:
    axes.set_xlabel(_LABELS[change])
    axes.set_xticks(amounts)
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: three_digits(value)))
    if change == BITS:
        axes.invert_xaxis()  # to the right, more is taken away, as in the other panel
