"""The history of one metric of one cell: its runs in series of the same environment, and what changed."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from bench.analysis.change_points import MIN_RUNS, Change, exact_changes, find_changes
from bench.analysis.comparable import differences, fingerprint, machine_name
from bench.analysis.statistics import Interval
from bench.analysis.summary import summarize
from bench.errors import BenchError
from bench.formatting import counted
from bench.metrics import METRICS, metric_named
from bench.results.store import Store
from techniques.registry import first_few, nearest

if TYPE_CHECKING:
    import pandas as pd

_KEY = re.compile("[0-9a-f]{4,64}")


@dataclass(frozen=True)
class Point:
    """What one run measured: the value with its interval over launches, where and of which revision.

    `revision` is empty where the run was in no git repository; `changed` says that it had uncommitted
    changes. `started_s` is Unix time.
    """

    run_id: str
    started_s: float
    value: Interval
    environment: Mapping[str, Any]

    @property
    def revision(self) -> str:
        return str((self.environment.get("git") or {}).get("revision") or "")

    @property
    def changed(self) -> bool:
        return bool((self.environment.get("git") or {}).get("changed"))

    @property
    def commit(self) -> str:
        """The revision for people: seven digits, with a + where there were uncommitted changes."""
        return self.revision[:7] + ("+" if self.revision and self.changed else "")


@dataclass(frozen=True)
class Series:
    """Runs of one environment, oldest first, and the changes between them."""

    points: Sequence[Point]
    changes: Sequence[Change] = ()

    @property
    def environment(self) -> Mapping[str, Any]:
        return self.points[-1].environment

    @property
    def fingerprint(self) -> str:
        return fingerprint(self.environment)

    @property
    def machine(self) -> str:
        return machine_name(self.environment)


@dataclass
class History:
    """One metric of one cell or stage over runs.

    `series` is that of the latest run, unless another environment was chosen; `others` are the rest, the
    one with the latest run first. `matrix` is that of the latest run, where `record` is a cell and not a
    stage. `earlier` counts the runs that were not read, as they are older. `notes` say what limits the
    result.
    """

    metric: str
    record: str
    stage: str
    series: Series
    others: Sequence[Series] = ()
    matrix: str = ""
    earlier: int = 0
    notes: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """Return what JSON output has."""
        return {
            **{"metric": self.metric, "record": self.record, "stage": self.stage, "notes": self.notes},
            **{"environment": self.series.fingerprint, "machine": self.series.machine},
            "runs": [_point_json(point) for point in self.series.points],
            "changes": [_change_json(change, self.series) for change in self.series.changes],
            "other_series": [
                {"environment": other.fingerprint, "machine": other.machine, "runs": len(other.points)}
                for other in self.others
            ],
        }


def read_history(store: Store, metric: str, record: str, *, last: int, environment: str = "") -> History:
    """Read what the store's latest runs, `last` at most, measured of a cell or stage, and find changes.

    `metric` may have a qualifier, `quality[recovered]`. `record` is a cell's name, a stage as findings name
    it, `infer digits/...`, or the beginning of a stage's key. Smoke runs are left out. `environment` is the
    beginning of the fingerprint of another series than the latest run's. Raises BenchError where there is
    no such cell, metric or environment.
    """
    runs = {str(run["id"]): run for run in store.runs().to_dict("records")}
    real = [run_id for run_id, run in runs.items() if not run["request"].get("smoke")]
    for run_id in real:
        METRICS.learn(runs[run_id]["request"].get("metrics", ()))
    of_cell, found = _stages(store, record)
    stages = {run_id: keys for run_id, keys in found.items() if run_id in real}
    name, qualifier = _parts(metric)
    kind = _kind(store, record, stages, name, qualifier)
    if name not in METRICS:
        raise BenchError(f"{name} is no metric of this version; --plugin loads the file that adds it")
    points, stage = [], ""
    for run_id, keys in list(stages.items())[-last:]:
        if kind not in keys:
            continue
        frame = _rows(store.stage_measurements(run_id, keys[kind]), name, qualifier)
        for row in summarize(frame).dropna(subset="value").to_dict("records"):
            stage = f"{row['kind']} {row['label']}"
            where = _environment(store.environments(run_id), frame)
            points.append(Point(run_id, float(runs[run_id]["started_s"]), _interval(row), where))
    if not points:
        raise BenchError(f"no run knows {metric} of {record!r}; `bench show` says why")
    history = _history(metric, record, stage, points, environment)
    history.earlier = max(0, len(stages) - last)
    if history.earlier:
        history.notes.append(
            f"{counted(history.earlier, 'earlier run')} left out: the latest {last} are read"
        )
    if of_cell:
        run = runs[points[-1].run_id]
        history.matrix = str(run["request"].get("matrix_path") or run["matrix"])
    return history


def _parts(metric: str) -> tuple[str, str]:
    """Return a metric's name and its qualifier, from `quality[recovered]`."""
    name, _, rest = metric.partition("[")
    return name, rest.removesuffix("]")


def _stages(store: Store, record: str) -> tuple[bool, Mapping[str, Mapping[str, str]]]:
    """Return whether a name is a cell's, and the keys of its stages by kind, by run, oldest first."""
    cells = store.runs_of_cell(record)
    if cells:
        return True, cells
    kind, _, label = record.partition(" ")
    named = [(kind, label)] if label else []
    if _KEY.fullmatch(record):
        named = store.stages_beginning(record)
        if len(named) > 1:
            stages = first_few([" ".join(stage) for stage in named])
            raise BenchError(f"{record!r} is ambiguous; stages whose key begins with it: {stages}")
    for kind, label in named:
        runs = store.runs_of_stage(kind, label)
        if runs:
            return False, {run_id: {kind: key} for run_id, key in runs.items()}
    raise BenchError(f"no run has a cell or stage {record!r}{nearest(record, store.cell_counts())}")


def _kind(
    store: Store, record: str, stages: Mapping[str, Mapping[str, str]], metric: str, qualifier: str
) -> str:
    """Return the kind of the stage that measures a metric of a cell, as the latest run with any knows it."""
    known: set[str] = set()
    for run_id, keys in reversed(list(stages.items())):
        frames = {kind: store.stage_measurements(run_id, key) for kind, key in keys.items()}
        measured = [kind for kind, frame in frames.items() if len(_rows(frame, metric, qualifier))]
        for frame in frames.values():
            known |= set(map(_full_name, frame["metric"], frame["qualifier"]))
        if metric_named(metric).stage in measured:
            return metric_named(metric).stage
        if len(measured) > 1:
            names = " or ".join(
                repr(f"{kind} {frames[kind]['label'].iloc[0]}") for kind in measured if len(frames[kind])
            )
            raise BenchError(f"several stages of {record} measure {metric}; name the stage: {names}")
        if measured:
            return measured[0]
    wanted = _full_name(metric, qualifier)
    raise BenchError(f"no run has {wanted!r} of {record!r}{nearest(wanted, known)}")


def _full_name(metric: str, qualifier: str) -> str:
    return metric + (f"[{qualifier}]" if qualifier else "")


def _rows(frame: pd.DataFrame, metric: str, qualifier: str) -> pd.DataFrame:
    return frame[(frame["metric"] == metric) & (frame["qualifier"] == qualifier)]


def _environment(environments: Mapping[str, Mapping[str, Any]], frame: pd.DataFrame) -> Mapping[str, Any]:
    """Return the environment that most of a stage's launches saw."""
    seen = Counter(id_ for id_ in frame["environment_id"] if id_ in environments)
    return environments[seen.most_common(1)[0][0]] if seen else {}


def _interval(row: Mapping[Any, Any]) -> Interval:
    low, high = (None if row[end] != row[end] else row[end] for end in ("low", "high"))
    return Interval(float(row["value"]), low, high, int(row["launches"]), str(row["method"]))


def _history(metric: str, record: str, stage: str, points: Sequence[Point], environment: str) -> History:
    groups: dict[str, list[Point]] = {}
    for point in reversed(points):
        groups.setdefault(fingerprint(point.environment), []).insert(0, point)
    chosen = next((name for name in groups if name.startswith(environment)), None)
    if chosen is None:
        raise BenchError(f"no run of environment {environment!r}; known: {first_few(list(groups))}")
    others = [Series(group) for name, group in groups.items() if name != chosen]
    history = History(metric, record, stage, Series(groups[chosen]), others)
    history.series = Series(groups[chosen], _changes(metric, groups[chosen], history.notes))
    history.notes += [_difference(history.series, other) for other in others]
    return history


def _changes(metric: str, points: Sequence[Point], notes: list[str]) -> list[Change]:
    """Return the changes of a series; says in `notes` what could not be seen."""
    values = [point.value.value for point in points]
    if metric_named(_parts(metric)[0]).kind == "exact":
        return exact_changes(values)
    if min(values) <= 0:
        notes.append("no change points: values of 0 and less have no ratios")
        return []
    if len(values) < 2 * MIN_RUNS:
        notes.append(f"{counted(len(values), 'run')}: change points need {2 * MIN_RUNS} or more")
        return []
    try:
        return find_changes(values)
    except BenchError as error:
        notes.append(str(error))
        return []


def _difference(series: Series, other: Series) -> str:
    keys = differences(other.environment, series.environment)
    what = ", ".join(keys) or "nothing that decides"
    return (
        f"{counted(len(other.points), 'run')} of another environment left out, {other.points[0].run_id} to "
        f"{other.points[-1].run_id}: {what} differ; --environment {other.fingerprint} shows "
        f"{'it' if len(other.points) == 1 else 'them'}"
    )


def change_text(metric: str, change: Change, series: Series) -> str:
    """Say a change in one line."""
    before, after = (_place(series.points[place]) for place in (change.before, change.after))
    size = f"{percent(change.ratio)}{_direction(metric, change.ratio.value)}"
    test = "exact" if change.test == "exact" else f"p {change.p_value:.2g}, {change.test} test"
    if change.kind == "shift":
        return f"shift {size} from {before} to {after} ({test})"
    most = f"neighbours differ by at most {100 * largest_difference(series, change):.1f} %"
    runs = counted(change.after - change.before, "run")
    return f"drift {size} over {runs} from {before} to {after}, {most} ({test})"


def percent(ratio: Interval) -> str:
    """Write a ratio as a change in percent with its interval: `+10.4 % (+8.5 to +12.3)`."""
    if math.isinf(ratio.value):
        return "from 0"
    text = f"{100 * (ratio.value - 1):+.1f} %"
    if ratio.low is None or ratio.high is None or ratio.low == ratio.high:
        return text
    return f"{text} ({100 * (ratio.low - 1):+.1f} to {100 * (ratio.high - 1):+.1f})"


def largest_difference(series: Series, change: Change) -> float:
    """Return the largest relative difference between neighbouring runs within a change."""
    points = series.points[change.before : change.after + 1]
    return max(abs(new.value.value / old.value.value - 1) for old, new in pairwise(points))


def _direction(metric: str, ratio: float) -> str:
    better = metric_named(_parts(metric)[0]).better
    if better == "neither" or ratio == 1:
        return ""
    return " better" if (ratio < 1) == (better == "lower") else " worse"


def _place(point: Point) -> str:
    return f"{point.run_id} ({point.commit})" if point.commit else point.run_id


def _point_json(point: Point) -> dict[str, Any]:
    value = point.value
    return {
        **{"run": point.run_id, "started_s": point.started_s},
        **{"revision": point.revision or None, "changed": point.changed},
        **{"value": value.value, "low": value.low, "high": value.high},
        **{"launches": value.n, "method": value.method},
    }


def _change_json(change: Change, series: Series) -> dict[str, Any]:
    before, after = series.points[change.before], series.points[change.after]
    ratio = change.ratio
    return {
        **{"kind": change.kind, "before": before.run_id, "after": after.run_id},
        **{"revision_before": before.revision or None, "revision_after": after.revision or None},
        "ratio": {
            **{"value": _finite(ratio.value), "low": _finite(ratio.low), "high": _finite(ratio.high)},
            "method": ratio.method,
        },
        **{"p_value": change.p_value, "test": change.test},
        **({"largest_difference": largest_difference(series, change)} if change.kind == "drift" else {}),
    }


def _finite(number: float | None) -> float | None:
    return number if number is not None and math.isfinite(number) else None
