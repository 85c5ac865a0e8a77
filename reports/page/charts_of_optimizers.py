"""What the page draws of optimizers over workloads and settings: their profiles, what settings change."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from bench.formatting import visible
from reports.frames.across import across_run
from reports.frames.sensitivity import sensitivity_labels
from reports.frames.view import RunView, records
from reports.page.numbers import rounded

_MAX_ROWS = 2000

_MIN_VALUES = 3
"""A line through two values says nothing of where a range ends."""


def profile_data(view: RunView) -> list[dict[str, Any]]:
    """Return each optimizer's performance profile and score, best first; empty of a single workload."""
    across = across_run(view)
    if across is None or across.profile.empty:
        return []
    corners = dict(iter(across.profile.groupby("optimizer", sort=False)))
    return [
        {
            "optimizer": visible(str(row["optimizer"])),
            "measure": row["measure"],
            "workloads": row["workloads"],
            **{name: rounded(row[name]) for name in ("score", "score_low", "score_high")},
            **{name: [rounded(x) for x in corners[row["optimizer"]][name]] for name in ("tau", "share")},
        }
        for row in records(across.table)
    ]


def sensitivity_data(frames: Mapping[str, pd.DataFrame]) -> list[dict[str, Any]]:
    """Return what each optimizer needed at each value of a setting, of those that have enough values.

    Medians over seeds.
    """
    if "sensitivity_points" not in frames:
        return []
    alike: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in records(frames["sensitivity_points"])[:_MAX_ROWS]:
        alike.setdefault((row["workload"], row["setting"]), []).append(row)
    return [
        {
            **{name: visible(str(row[name])) for name in ("workload", "setting", "optimizer")},
            "label": visible(label),
            **{name: rounded(row[column]) for name, column in _NUMBERS.items()},
        }
        for rows in alike.values()
        for row, label in _enough(rows)
    ]


def _enough(rows: Sequence[Mapping[str, Any]]) -> Iterator[tuple[Mapping[str, Any], str]]:
    """Yield the rows of each optimizer that has enough of them, with its name."""
    labels = sensitivity_labels(rows)
    counts = Counter(labels)
    for row, label in zip(rows, labels, strict=True):
        if counts[label] >= _MIN_VALUES:
            yield row, label


_NUMBERS = {
    **{"value": "value", "seeds": "seeds", "reached": "reached", "steps": "steps_to_target"},
    **{"samples": "samples_to_target", "budget": "budget_steps", "quality": "quality", "target": "target"},
}
