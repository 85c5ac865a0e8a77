"""The table of output formats: a row for each way that a report is written as files.

A module of this folder that calls `FORMATS.add` is found; a plug-in file calls it too, and a package does so
through the entry-point group `bench.formats`. Imports nothing that takes time: workers load plug-ins.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import BenchError
from techniques.registry import NAME, TechniqueError

if TYPE_CHECKING:
    from reports.content import Content

File = tuple[str, bytes]
"""A path relative to the report's folder, and what the file holds."""

FIGURES = "figures"
"""The format that is nothing but figures."""

Render = Callable[["Content"], Iterable[File]]


@dataclass(frozen=True)
class Format:
    """A way to write a report: `about` says which files, `render` returns them.

    `last` formats are written after all others: who finds their files finds the whole report. One that is
    `on_request` is no part of a report: `bench export` writes it. `draws` says whether it shows figures,
    which take most of a report's time to draw. A `raw` one has every row of every table: it is no part of the
    report of a run of very many cells. `owns` are patterns of paths relative to the report's folder: a file
    of one that an earlier report wrote, and this one did not, is removed.
    """

    name: str
    render: Render
    about: str
    last: bool = False
    on_request: bool = False
    draws: bool = True
    raw: bool = False
    owns: tuple[str, ...] = ()


class FormatTable:
    """The formats by name."""

    def __init__(self, package: str, entry_points: str) -> None:
        self._package = package
        self._entry_points = entry_points
        self._rows: dict[str, Format] = {}
        self._found = False

    def add(
        self,
        name: str,
        render: Render,
        *,
        about: str,
        last: bool = False,
        on_request: bool = False,
        draws: bool = True,
        raw: bool = False,
        owns: tuple[str, ...] = (),
    ) -> Format:
        """Add a format; raises TechniqueError where the name is taken or is none."""
        if not isinstance(name, str) or not NAME.fullmatch(name):
            raise TechniqueError(f"format {name!r}: a name has only a-z, 0-9, '.' and '-'")
        if not callable(render):
            raise TechniqueError(f"format {name!r}: render must be a function of the report's content")
        if name in self._rows:
            raise TechniqueError(f"format {name!r} is already registered: {self._rows[name].about}")
        self._rows[name] = Format(name, render, about, last, on_request, draws, raw, owns)
        return self._rows[name]

    def rows(self) -> list[Format]:
        """Return every format by name, those that are written last at the end."""
        if not self._found:
            self._found = True
            folder = importlib.import_module(self._package).__path__
            for module in sorted(entry.name for entry in pkgutil.iter_modules(folder)):
                importlib.import_module(f"{self._package}.{module}")
            for entry in entry_points(group=self._entry_points):
                entry.load()(self)
        return sorted(self._rows.values(), key=lambda row: (row.last, row.name))


def required(module: str, extra: str, what: str) -> Any:
    """Import a module that comes with an extra; raises BenchError that says what to install without it."""
    try:
        return importlib.import_module(module)
    except ImportError:
        package = f"dl-efficiency-bench[{extra}]"
        raise BenchError(f"{what} requires {module.partition('.')[0]}: pip install '{package}'") from None


def refuse_outside(format_: Format, path: str) -> None:
    """Raise TechniqueError where a format would write outside of the report's folder."""
    parts = Path(path).parts
    if not parts or Path(path).is_absolute() or ".." in parts:
        raise TechniqueError(f"format {format_.name!r}: {path!r} must be a path inside the report's folder")


FORMATS = FormatTable("reports.formats", entry_points="bench.formats")
