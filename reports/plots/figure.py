"""How every figure looks and is written: colours, markers, axes, the same bytes for the same data."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator

from bench.formatting import format_value
from bench.metrics import METRICS

# Okabe & Ito (2008) without black and yellow, then Paul Tol's muted: distinct to colour-blind readers.
PALETTE = (
    *("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"),
    *("#332288", "#882255", "#999933", "#117733", "#AA4499", "#88CCEE"),
    *("#44AA99", "#661100", "#6699CC", "#DDCC77"),
)
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "p", "h", "*")
DASHES = ("-", "--", ":", "-.")
GREY, INK = "#8a8a8a", "#222222"

_STYLE: dict[str, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9.5,
    "axes.edgecolor": GREY,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10.5,
    "axes.titlelocation": "left",
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e4e4e4",
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "text.parse_math": False,  # a `$` in a name is a dollar
    "svg.hashsalt": "dl-efficiency-bench",
    "figure.dpi": 100,
}


_MAX_STEM = 150


@dataclass(frozen=True)
class Plot:
    """A finished figure. `name` is the file's stem, `caption` says how to read it."""

    name: str
    title: str
    caption: str
    png: bytes
    svg: bytes


def render(name: str, title: str, caption: str, draw: Callable[[], Figure]) -> Plot:
    """Draw a figure in this module's style and write it as PNG and SVG, without dates."""
    with matplotlib.rc_context(cast("Any", _STYLE)):
        figure = draw()
        FigureCanvasAgg(figure)
        png, svg = io.BytesIO(), io.BytesIO()
        # Laid out once for both files: each would do it twice more, which is most of the time of a report.
        figure.draw_without_rendering()
        figure.set_layout_engine(None)
        box = figure.get_tightbbox().padded(0.1)
        figure.savefig(png, format="png", dpi=130, metadata={"Software": None}, bbox_inches=box)
        figure.savefig(svg, format="svg", metadata={"Date": None, "Creator": None}, bbox_inches=box)
    return Plot(slug(name), title, caption, png.getvalue(), svg.getvalue())


def slug(text: str) -> str:
    """Return text as a safe file stem."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:_MAX_STEM]


def assign(names: Iterable[Any], choices: tuple[str, ...]) -> dict[Any, str]:
    """Give each name one of the choices, in order, over again where they run out."""
    distinct = list(dict.fromkeys(names))
    return {name: choices[index % len(choices)] for index, name in enumerate(distinct)}


def shorten(text: str, length: int = 34) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"


def fewer(shown: int, every: int, noun: str = "", which: str = "quickest") -> str:
    """Return the sentence of a caption that says how many are shown, and which; nothing where all are."""
    of = f"{every:,} {noun}".rstrip()
    return f" The {shown:,} {which} of {of} are shown." if shown < every else ""


def readable(heights: Sequence[float], least: float) -> list[int]:
    """Return the places of the heights, the first ones first, that lie at least so far apart: for labels."""
    kept: list[int] = []
    for place, height in enumerate(heights):
        if all(abs(height - heights[other]) >= least for other in kept):
            kept.append(place)
    return kept


def format_axis(axes: Axes, which: str, metric: str, *, log: bool = False) -> None:
    """Label an axis with the metric's name, its ticks with values and units."""
    axis = axes.xaxis if which == "x" else axes.yaxis
    axis.set_label_text(METRICS[metric].label)
    axis.set_major_formatter(FuncFormatter(lambda value, _: _tick(metric, value)))
    if log:
        low, high = axes.get_xlim() if which == "x" else axes.get_ylim()
        # Few decades need ticks inside them, many would be crowded by those; bytes count in powers of 2.
        within = (1.0, 2.0, 5.0) if high / max(low, 1e-300) < 60 else (1.0,)
        binary = METRICS[metric].unit == "bytes"
        axis.set_major_locator(LogLocator(base=2, numticks=8) if binary else LogLocator(subs=within))
        axis.set_minor_locator(NullLocator())
        axis.set_minor_formatter(NullFormatter())


def _tick(metric: str, value: float) -> str:
    if METRICS[metric].unit == "share":
        return f"{100 * value:.4g} %"
    return format_value(metric, value) if value else "0"
