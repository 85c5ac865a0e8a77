"""What the stages of a run measured, by stage, metric and qualifier: each metric is indexed once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from bench.analysis.summary import summarize, undisturbed
from bench.metrics import METRICS
from bench.metrics.fidelity import OF_ITEMS

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True)
class Reading:
    """A metric's value over the good launches of a stage, in the metric's unit; None where unknown."""

    value: float | None = None
    low: float | None = None
    high: float | None = None
    launches: int = 0
    preliminary: bool = False
    reason: str = ""
    method: str = ""


UNKNOWN = Reading()
_NOWHERE: dict[str, int] = {}
_READ = ("value", "low", "high", "launches", "preliminary", "reason", "method")


class Readings:
    """The readings of a run, from the frame of `Store.measurements`."""

    def __init__(self, measurements: pd.DataFrame) -> None:
        self._measurements = measurements
        self._summary = summary = summarize(measurements)
        self._keys: list[str] = summary["stage_key"].tolist()
        self._columns = {name: summary[name].tolist() for name in ("launches", "preliminary")}
        self._columns |= {name: _without_nan(summary[name]) for name in ("value", "low", "high")}
        self._columns |= {name: summary[name].fillna("").tolist() for name in ("reason", "method")}
        grouped = summary.groupby(["metric", "qualifier"], sort=False, observed=True).indices
        self._rows = {what: np.asarray(rows) for what, rows in grouped.items()}
        self._places: dict[tuple[str, str], dict[str, int]] = {}
        self._values: dict[tuple[str, str], dict[str, float | None]] = {}
        self._reasons: dict[str, dict[str, str]] = {}
        self._qualifiers: dict[str, dict[str, list[str]]] = {}
        self._timings: dict[str, dict[str, list[np.ndarray]]] = {}
        self._launch_values: dict[str, dict[tuple[str, str], list[float]]] = {}

    def reading(self, key: str, metric: str, qualifier: str = "") -> Reading:
        """Return a metric of a stage; an empty reading where nothing was measured."""
        place = self._places_of(metric, qualifier).get(key)
        if place is None:
            return UNKNOWN
        columns = self._columns
        value, low, high, launches, preliminary, reason, method = (columns[name][place] for name in _READ)
        return Reading(value, low, high, launches, preliminary, reason, method)

    def values(self, metric: str, qualifier: str = "") -> Mapping[str, float | None]:
        """Return a metric by the key of each stage that measured it; None where it is unknown."""
        found = self._values.get((metric, qualifier))
        if found is None:
            values = self._columns["value"]
            places = self._places_of(metric, qualifier)
            found = self._values[metric, qualifier] = {key: values[place] for key, place in places.items()}
        return found

    def _places_of(self, metric: str, qualifier: str) -> dict[str, int]:
        known = (metric, qualifier)
        found = self._places.get(known)
        if found is None:
            rows = self._rows[known].tolist() if known in self._rows else []
            found = self._places[known] = {self._keys[row]: row for row in rows}
        return found

    def reasons(self, metric: str) -> Mapping[str, str]:
        """Return what a metric gives as a reason by the key of the stage, where it does, unqualified."""
        if metric not in self._reasons:
            reasons = self._columns["reason"]
            places = self._places_of(metric, "")
            self._reasons[metric] = {key: reasons[place] for key, place in places.items() if reasons[place]}
        return self._reasons[metric]

    def qualifiers(self, key: str, metric: str) -> list[str]:
        """Return the qualifiers under which a stage measured a metric, in the order it did."""
        if metric not in self._qualifiers:
            own = self._summary[self._summary["metric"] == metric]
            found: dict[str, list[str]] = {}
            for stage, qualifier in zip(own["stage_key"].tolist(), own["qualifier"].tolist(), strict=True):
                found.setdefault(stage, []).append(qualifier)
            self._qualifiers[metric] = found
        return self._qualifiers[metric].get(key, [])

    def launch_values(self, key: str, metric: str, qualifier: str = "") -> list[float]:
        """Return one value for each good launch that knows the metric."""
        if metric not in self._launch_values:
            own = self._calm[(self._calm["metric"] == metric) & self._calm["value"].notna()]
            found: dict[tuple[str, str], list[float]] = {}
            rows = (own[name].tolist() for name in ("stage_key", "qualifier", "value"))
            for stage, which, value in zip(*rows, strict=True):
                found.setdefault((stage, which), []).append(value)
            self._launch_values[metric] = found
        return self._launch_values[metric].get((key, qualifier), [])

    @cached_property
    def _calm(self) -> pd.DataFrame:
        return undisturbed(self._measurements)

    @cached_property
    def measured(self) -> Mapping[str, frozenset[str]]:
        """The metrics that stages of each kind measured, those under qualifiers left out."""
        plain = self._summary[self._summary["qualifier"] == ""]
        pairs = plain[["kind", "metric"]].drop_duplicates()
        return {str(kind): frozenset(own) for kind, own in pairs.groupby("kind", observed=True)["metric"]}

    @cached_property
    def samples(self) -> Mapping[tuple[str, str, str], tuple[np.ndarray, str]]:
        """The samples of curves and of test items, each with its method; those of timings are left out."""
        rows = self._measurements
        kept = rows[rows["metric"].isin([*METRICS.curves, *OF_ITEMS]) & rows["samples"].notna()]
        names = ("stage_key", "metric", "qualifier", "samples", "method")
        columns = (kept[name].tolist() for name in names)
        return {
            (key, metric, qualifier): (samples, method or "")
            for key, metric, qualifier, samples, method in zip(*columns, strict=True)
        }

    def timing_samples(self, key: str, metric: str) -> list[np.ndarray]:
        """Return the samples of a timing, (samples,) for each good launch that nothing disturbed."""
        if metric not in self._timings:
            own = self._calm[(self._calm["metric"] == metric) & self._calm["samples"].notna()]
            found: dict[str, list[np.ndarray]] = {}
            for stage, samples in zip(own["stage_key"].tolist(), own["samples"].tolist(), strict=True):
                found.setdefault(stage, []).append(samples)
            self._timings[metric] = found
        return self._timings[metric].get(key, [])


def _without_nan(column: pd.Series) -> list[float | None]:
    return [None if value != value else value for value in column.astype(float).tolist()]
