"""`plots/*`: each figure as PNG and as SVG."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from reports.formats.table import FIGURES, FORMATS, File

if TYPE_CHECKING:
    from reports.content import Content


def render(content: Content) -> Iterator[File]:
    """Yield both files of each figure."""
    for plot in content.plots:
        yield f"plots/{plot.name}.png", plot.png
        yield f"plots/{plot.name}.svg", plot.svg


FORMATS.add(
    FIGURES,
    render,
    about="plots/*.png, plots/*.svg: the figures",
    owns=("plots/*.png", "plots/*.svg"),
)
