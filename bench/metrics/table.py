"""The table of metrics, which frames, tables, plots, reports and the regression check all read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields
from importlib.metadata import entry_points
from typing import Any

from bench.metrics.row import Metric
from techniques.registry import TechniqueError, nearest


class MetricTable(Mapping[str, Metric]):
    """The rows by name: those of this package, then those that plug-ins and packages add.

    Rows that only a stored run or a baseline file brings, made with a plug-in that this process has not
    loaded, come last: `learn` them. They never replace a row of this package or of a plug-in.
    """

    def __init__(self, rows: Iterable[Metric]) -> None:
        self._rows = {row.name: row for row in rows}
        self._built_in = frozenset(self._rows)
        self._learned: dict[str, Metric] = {}
        self._third_parties_loaded = False

    def add(self, name: str, *, about: str, **traits: Any) -> Metric:
        """Add a metric and return its row; `traits` are fields of `Metric`.

        The label is the name without underscores, and the metric is seeded, measured by any stage, better in
        neither direction and without a unit, unless `traits` say otherwise. Adding the same row again does
        nothing. Raises TechniqueError where the name is taken or a field is wrong.
        """
        known = [entry.name for entry in fields(Metric)]
        for trait in traits:
            if trait not in known:
                raise TechniqueError(f"metric {name!r}: unknown field {trait!r}{nearest(trait, known)}")
        defaults: dict[str, Any] = {"unit": "", "better": "neither", "kind": "seeded", "stage": "any"}
        row = Metric(**{"label": str(name).replace("_", " "), **defaults, **traits}, name=name, about=about)
        try:
            row.check()
        except ValueError as error:
            raise TechniqueError(f"metric {name!r}: {error}") from None
        if self._rows.setdefault(name, row) != row:
            raise TechniqueError(f"metric {name!r} is already registered: {self._rows[name].about}")
        return row

    def learn(self, documents: Iterable[Mapping[str, Any]]) -> None:
        """Know these rows too, given as checked JSON, in place of earlier ones that were learned."""
        self._learned |= {row.name: row for row in map(Metric.from_json, documents)}

    def added(self) -> list[Metric]:
        """Return the rows of plug-ins and packages: what a run's record keeps, to be read without them."""
        self._load_third_parties()
        return [row for name, row in self._rows.items() if name not in self._built_in]

    def is_built_in(self, name: str) -> bool:
        return name in self._built_in

    @property
    def qualities(self) -> tuple[str, ...]:
        """Names of the metrics of quality; the one that a target is set on is a share, better when higher."""
        return tuple(row.name for row in self.values() if row.quality)

    @property
    def operation_counts(self) -> tuple[str, ...]:
        """Names of the counts of operations."""
        return tuple(row.name for row in self.values() if row.operations)

    @property
    def curves(self) -> tuple[str, ...]:
        """Names of the metrics whose samples, taken together, are a training curve."""
        return tuple(row.name for row in self.values() if row.curve)

    def __getitem__(self, name: str) -> Metric:
        if name not in self._rows:  # so that what is here is found without a look at packages
            self._load_third_parties()
        return self._rows[name] if name in self._rows else self._learned[name]

    def __iter__(self) -> Iterator[str]:
        self._load_third_parties()
        return iter({**self._rows, **self._learned})

    def __len__(self) -> int:
        self._load_third_parties()
        return len(self._rows.keys() | self._learned.keys())

    def _load_third_parties(self) -> None:
        if not self._third_parties_loaded:
            self._third_parties_loaded = True
            for entry in entry_points(group="bench.metrics"):
                entry.load()(self)
