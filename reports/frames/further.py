"""Columns of metrics that a table has no column of its own for: further qualities, and what plug-ins add."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from bench.metrics import METRICS
from reports.frames.view import RunView

_PREFIX = "metric_"
"""Begins the column of a plug-in's metric whose name is that of another column."""


def further_columns(view: RunView, kinds: Iterable[str], own: Collection[str]) -> dict[str, str]:
    """Return column → metric of what stages of these kinds measured beyond the table's `own` columns."""
    measured = {name for kind in kinds for name in view.measured(kind)}
    found: dict[str, str] = {}
    for name, row in METRICS.items():
        built_in = METRICS.is_built_in(name)
        if name in measured and not (built_in and (name in own or not row.quality)):
            found[_PREFIX + name if name in own else name] = name
    return found


def further_values(view: RunView, keys: Iterable[str], columns: Mapping[str, str]) -> dict[str, float | None]:
    """Return the values of further columns, each from the first of a row's stages that knows it."""
    stages = list(keys)
    return {
        column: next((value for key in stages if (value := view.value(key, metric)) is not None), None)
        for column, metric in columns.items()
    }


def further_lists(
    view: RunView, keys: Sequence[Sequence[str]], columns: Mapping[str, str]
) -> dict[str, list[float | None]]:
    """Return `further_values` of many rows by column; `keys` has those of the rows for each kind of stage."""
    return {
        column: [
            next((value for key in own if (value := values.get(key)) is not None), None)
            for own in zip(*keys, strict=True)
        ]
        for column, values in ((column, view.values(metric)) for column, metric in columns.items())
    }


def further_of(columns: Iterable[str], own: Collection[str]) -> dict[str, str]:
    """Return column → metric of the further columns of a finished table."""
    return {column: column.removeprefix(_PREFIX) for column in columns if column not in own}
