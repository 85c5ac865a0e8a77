"""What a figure shows, read back from matplotlib: its texts, lines and marks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reports.plots.figure import Plot, slug

Keep = Callable[[ModuleType], list[Figure]]


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch) -> Keep:
    """Return what keeps the figures that a module draws, and writes no files of them, which takes longer."""

    def keep(module: ModuleType) -> list[Figure]:
        figures: list[Figure] = []

        def render(name: str, title: str, caption: str, draw: Callable[[], Figure]) -> Plot:
            figures.append(draw())
            return Plot(slug(name), title, caption, b"", b"")

        monkeypatch.setattr(module, "render", render)
        return figures

    return keep


def texts(axes: Axes) -> list[str]:
    return [text.get_text() for text in axes.texts]


def ticks(axes: Axes) -> list[str]:
    return [label.get_text() for label in axes.get_yticklabels()]


def legend(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


def lines(axes: Axes, points: int) -> dict[str, list[tuple[float, float]]]:
    """Return the lines through so many points, by their label."""
    found = {}
    for line in axes.get_lines():
        if len(line.get_xdata()) == points:
            found[str(line.get_label())] = list(zip(*np.asarray(line.get_data(), dtype=float), strict=True))
    return found


def marks(axes: Axes) -> set[tuple[Any, float, float]]:
    """Return the marker and the place of each single point."""
    return {
        (line.get_marker(), float(line.get_xdata()[0]), float(line.get_ydata()[0]))
        for line in axes.get_lines()
        if len(line.get_xdata()) == 1
    }


def segments(axes: Axes) -> Iterator[tuple[tuple[float, float], tuple[float, float]]]:
    """Yield the ends of the bars of intervals: lines from one point to another."""
    for collection in axes.collections:
        for segment in collection.get_segments() if hasattr(collection, "get_segments") else ():
            if len(segment) == 2:
                first, last = ((float(x), float(y)) for x, y in segment)
                yield first, last


def lines_at(axes: Axes, height: float) -> Iterator[tuple[float, float]]:
    """Yield the ends of horizontal lines at this height."""
    for (left, low), (right, high) in segments(axes):
        if np.allclose((low, high), height):
            yield left, right
