"""What the stages of a run measured, by stage, metric and qualifier: each metric is indexed once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.analysis.summary import numbered, summarize, undisturbed
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
_READ = ("value", "low", "high", "launches", "preliminary", "reason", "method")


class Readings:
    """The readings of a run, from the frame `measurements` of `Store.recorded`."""

    def __init__(self, measurements: pd.DataFrame) -> None:
        self._measurements = measurements
        self._summary = summary = summarize(measurements)
        self._arrays = {name: summary[name].to_numpy() for name in _READ}
        stages = summary["stage_key"].astype("category").cat
        self._stage_keys = stages.categories.to_numpy(dtype=object)
        self._stage_of_row = stages.codes.to_numpy()
        self._stages = {key: place for place, key in enumerate(self._stage_keys.tolist())}
        self._rows = _rows_of_metrics(summary)
        self._places: dict[tuple[str, str], dict[str, int]] = {}
        self._columns: dict[tuple[str, str], tuple[list[Any], ...]] = {}
        self._values: dict[tuple[str, str], dict[str, float | None]] = {}
        self._by_stage: dict[tuple[str, str], np.ndarray] = {}
        self._reasons: dict[str, dict[str, str]] = {}
        self._qualifiers: dict[str, dict[str, list[str]]] = {}
        self._timings: dict[str, dict[str, list[np.ndarray]]] = {}
        self._launch_values: dict[str, dict[tuple[str, str], list[float]]] = {}

    def reading(self, key: str, metric: str, qualifier: str = "") -> Reading:
        """Return a metric of a stage; an empty reading where nothing was measured."""
        place = self._places_of(metric, qualifier).get(key)
        if place is None:
            return UNKNOWN
        what = (metric, qualifier)
        if what not in self._columns:
            rows = self._rows[what]
            self._columns[what] = tuple(_plain(self._arrays[name][rows]) for name in _READ)
        return Reading(*(column[place] for column in self._columns[what]))

    def values(self, metric: str, qualifier: str = "") -> Mapping[str, float | None]:
        """Return a metric by the key of each stage that measured it; None where it is unknown."""
        found = self._values.get((metric, qualifier))
        if found is None:
            rows = self._rows.get((metric, qualifier), _NO_ROWS)
            values = _plain(self._arrays["value"][rows])
            found = self._values[metric, qualifier] = dict(zip(self._keys(rows), values, strict=True))
        return found

    def numbers(self, keys: Iterable[str]) -> np.ndarray:
        """Return the number of each of these stages, for `column`."""
        return np.fromiter((self._stages.get(key, -1) for key in keys), dtype=np.int64)

    def column(self, metric: str, numbers: np.ndarray, qualifier: str = "") -> np.ndarray:
        """Return a metric of each of these stages, float64; NaN where it is unknown."""
        what = (metric, qualifier)
        if what not in self._by_stage:
            rows = self._rows.get(what, _NO_ROWS)
            by_stage = np.full(len(self._stages) + 1, np.nan)  # the last one is of no stage
            by_stage[self._stage_of_row[rows]] = self._arrays["value"][rows]
            self._by_stage[what] = by_stage
        return self._by_stage[what][numbers]

    def _places_of(self, metric: str, qualifier: str) -> dict[str, int]:
        known = (metric, qualifier)
        found = self._places.get(known)
        if found is None:
            keys = self._keys(self._rows.get(known, _NO_ROWS))
            found = self._places[known] = {key: place for place, key in enumerate(keys)}
        return found

    def _keys(self, rows: np.ndarray) -> list[str]:
        keys: list[str] = self._stage_keys[self._stage_of_row[rows]].tolist()
        return keys

    def reasons(self, metric: str) -> Mapping[str, str]:
        """Return what a metric gives as a reason by the key of the stage, where it does, unqualified."""
        if metric not in self._reasons:
            rows = self._rows.get((metric, ""), _NO_ROWS)
            pairs = zip(self._keys(rows), self._arrays["reason"][rows].tolist(), strict=True)
            self._reasons[metric] = {key: reason for key, reason in pairs if reason}
        return self._reasons[metric]

    def qualifiers(self, key: str, metric: str) -> list[str]:
        """Return the qualifiers under which a stage measured a metric, in the order it did."""
        if metric not in self._qualifiers:
            own = self._summary.loc[self._summary["metric"] == metric, ["stage_key", "qualifier"]]
            found: dict[str, list[str]] = {}
            for stage, qualifier in zip(own["stage_key"].tolist(), own["qualifier"].tolist(), strict=True):
                found.setdefault(stage, []).append(qualifier)
            self._qualifiers[metric] = found
        return self._qualifiers[metric].get(key, [])

    def all_qualifiers(self, metric: str) -> list[str]:
        """Return the qualifiers under which any stage measured a metric, sorted."""
        return sorted(qualifier for name, qualifier in self._rows if name == metric)

    def launch_values(self, key: str, metric: str, qualifier: str = "") -> list[float]:
        """Return one value for each good launch that knows the metric."""
        if metric not in self._launch_values:
            names = ["stage_key", "qualifier", "value"]
            own = self._calm.loc[(self._calm["metric"] == metric) & self._calm["value"].notna(), names]
            found: dict[tuple[str, str], list[float]] = {}
            rows = (own[name].tolist() for name in names)
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
        plain = self._summary.loc[self._summary["qualifier"] == "", ["kind", "metric"]]
        pairs = plain.drop_duplicates()
        return {str(kind): frozenset(own) for kind, own in pairs.groupby("kind", observed=True)["metric"]}

    @cached_property
    def samples(self) -> Mapping[tuple[str, str, str], tuple[np.ndarray, str]]:
        """The samples of curves and of test items, each with its method; those of timings are left out."""
        rows = self._measurements
        names = ["stage_key", "metric", "qualifier", "samples", "method"]
        kept = rows.loc[rows["metric"].isin([*METRICS.curves, *OF_ITEMS]) & rows["samples"].notna(), names]
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


_NO_ROWS = np.zeros(0, dtype=np.int64)


def _rows_of_metrics(summary: pd.DataFrame) -> dict[tuple[str, str], np.ndarray]:
    """Return the rows of each metric × qualifier, in their order."""
    group, groups = numbered(summary, ("metric", "qualifier"))
    # So narrow, they are sorted by their digits: in a tenth of the time.
    order = np.argsort(group.astype(np.int16) if groups < 2**15 else group, kind="stable")
    ends = np.cumsum(np.bincount(group, minlength=groups))
    firsts = order[ends - np.bincount(group, minlength=groups)] if groups else _NO_ROWS
    names = zip(*(summary[name].iloc[firsts].tolist() for name in ("metric", "qualifier")), strict=True)
    return dict(zip(names, np.split(order, ends[:-1]), strict=True)) if groups else {}


def _plain(values: np.ndarray) -> list[Any]:
    """Return an array's values, None for NaN."""
    plain: list[Any] = values.tolist()
    if values.dtype.kind == "f" and np.isnan(values).any():
        return [None if value != value else value for value in plain]
    return plain
