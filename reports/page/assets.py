"""The page's scripts and style as one text each: libraries first, then our own, in order."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from bench.formatting import visible

_HERE = Path(__file__).parent
_LIBRARIES = ("d3.min.js", "plot.min.js", "tabulator.min.js")
_OF_TABLES = ("data", "theme", "selection", "dialog", "cells", "units", "csv", "tables", "print")
_SCRIPTS = (*_OF_TABLES, "plots", "charts", "charts_of_training", "charts_of_optimizers", "start")

_SOURCE_MAP = re.compile(r"(//[#@] sourceMappingURL=\S+|/\*# sourceMappingURL=\S+ \*/)")


def script() -> str:
    """Return the page's script, libraries included."""
    return _joined(_LIBRARIES, _SCRIPTS)


def script_of_tables() -> str:
    """Return the script of a page that has tables and no charts."""
    return _joined(_LIBRARIES[-1:], (*_OF_TABLES, "start_of_tables"))


def _joined(libraries: Iterable[str], scripts: Iterable[str]) -> str:
    own = "\n".join(_text("scripts", f"{name}.js") for name in scripts)
    libraries = (_text("vendor", name) for name in libraries)
    return "\n".join([*libraries, f'(() => {{\n"use strict";\n{own}\n}})();\n'])


def style() -> str:
    """Return the page's style sheet, that of the tables' library included."""
    return "\n".join([_text("vendor", "tabulator.min.css"), _text("", "style.css")])


def _text(folder: str, name: str) -> str:
    """Read a file; what is invisible in it is in texts of scripts, where its escape means the same."""
    return visible(_SOURCE_MAP.sub("", (_HERE / folder / name).read_text(encoding="utf-8"))).strip()
