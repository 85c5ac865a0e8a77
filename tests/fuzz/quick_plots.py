"""Draws a report's figures without writing them, which takes most of a report's time."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from unittest.mock import patch

from matplotlib.figure import Figure

from reports.plots.figure import Plot, slug


def _draw(name: str, title: str, caption: str, draw: Callable[[], Figure]) -> Plot:
    draw()
    return Plot(slug(name), title, caption, b"", b"")


@contextlib.contextmanager
def draw_without_files(without: bool) -> Iterator[None]:
    """Leave out the writing of figures while this lasts, if `without`."""
    modules = ("classes", "memory", "sensitivity", "steps", "tradeoff", "training")
    with contextlib.ExitStack() as stack:
        for module in modules if without else ():
            stack.enter_context(patch(f"reports.plots.{module}.render", _draw))
        yield
