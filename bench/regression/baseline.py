"""A baseline: a JSON file, small enough to keep in git.

It holds a run's exact and seeded values, and each launch's value of the sampled metrics, with the environment
they were measured in, and what earlier runs of that machine measured: its noise between runs.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from bench.analysis.comparable import deciding, fingerprint
from bench.analysis.noise import KEPT_RUNS, centre
from bench.analysis.summary import undisturbed
from bench.errors import BenchError
from bench.files import read_json, replace_file
from bench.metrics import METRICS, Metric, metric_named
from bench.results.folder import refuse_links
from bench.results.store import Store
from bench.results.store.documents import MetricRows
from bench.stages import STAGES
from techniques.registry import nearest

if TYPE_CHECKING:
    import pandas as pd

VERSION = 3

_WITHOUT_HISTORY = 2
"""A version before this one that can still be read."""


_MAX_READ = 200
"""Runs that are looked at for a history."""

COMPARED = tuple(row.timed_by for row in STAGES.rows().values() if row.timed_by)
"""Sampled metrics that can regress: those that enough launches are made for. The rest is told, not judged."""


def _is_timing(value: float) -> bool:
    return 1e-100 <= value <= 1e100


def _of_this_world(value: float) -> float:
    if not _is_timing(value):
        raise ValueError("not a time")
    return value


_Timing = Annotated[float, Field(gt=0, allow_inf_nan=False), AfterValidator(_of_this_world)]


class _Entry(BaseModel):
    """A metric of a stage: its exact value, or a value for each launch."""

    model_config = ConfigDict(extra="forbid")

    value: float | None = None
    launches: Annotated[list[_Timing], Field(max_length=1000)] = []


class _BaselineFile(BaseModel):
    """`metrics` are the rows that plug-ins had added where the run was made."""

    version: int
    run: str
    matrix: str
    environment: dict[str, Any]
    stages: dict[str, dict[str, _Entry]]
    metrics: MetricRows = []
    repeats: dict[str, bool] = {}
    history: dict[str, dict[str, Annotated[list[_Timing], Field(max_length=1000)]]] = {}

    @model_validator(mode="after")
    def _entries_fit_their_metrics(self) -> _BaselineFile:
        own = {row["name"]: Metric.from_json(row) for row in self.metrics}
        for stage, entries in self.stages.items():
            for name, entry in entries.items():
                metric = METRICS.get(metric_of(name)) or own.get(metric_of(name))
                if metric is None:
                    raise ValueError(f"{stage} {name}: unknown metric")
                if metric.kind == "sampled" and not entry.launches:
                    raise ValueError(f"{stage} {name} has no launches")
        return self


def timings(stages: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, str, list[float]]]:
    """Yield stage, metric and launches of each sampled metric of a baseline's stages."""
    for stage, entries in stages.items():
        for name, entry in entries.items():
            if entry.get("launches"):
                yield stage, name, entry["launches"]


def metric_of(name: str) -> str:
    """Return the metric of an entry's name, `metric[qualifier]`."""
    return name.partition("[")[0]


def save(store: Store, run_id: str, name: str, results: Path) -> Path:
    """Write the values of a finished run's good stages as a baseline; returns the file."""
    path = path_of(name, results)
    refuse_unfinished(store, run_id)
    refuse_smoke(store, run_id)
    content = collect(store, run_id)
    content["history"] = history_of(store, run_id, content["environment"])
    refuse_links(results, "baselines")
    replace_file(path, json.dumps(content, indent=1, sort_keys=True).encode())
    return path


def path_of(name: str, results: Path) -> Path:
    """Return the file of a baseline of this name; raises BenchError for what cannot be one."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
        raise BenchError(
            f"a baseline's name must consist of letters, digits, '.', '_' and '-', no '.' first, got {name!r}"
        )
    return results / "baselines" / f"{name}.json"


def remove(name: str, results: Path) -> Path:
    """Remove a baseline; returns its file. Raises BenchError where there is none."""
    path = path_of(name, results)
    if not path.is_file():
        _none_such(name, results)
    path.unlink()
    return path


def collect(store: Store, run_id: str) -> dict[str, Any]:
    """Return the content of a baseline of a run, without its history."""
    run = store.run(run_id)
    METRICS.learn(run["request"].get("metrics", ()))
    measurements = store.measurements(run_id)
    stages = _values(measurements)
    return {
        "version": VERSION,
        "run": run_id,
        "matrix": run["matrix"],
        "environment": deciding(store.environment(run_id)),
        "stages": stages,
        "metrics": [METRICS[name].to_json() for name in _added(stages)],
        "repeats": _repeats(measurements),
    }


def _repeats(measurements: pd.DataFrame) -> dict[str, bool]:
    """Say of each step with several launches whether their first losses are the same, bit for bit."""
    losses = measurements[(measurements["metric"] == "early_loss") & measurements["value"].notna()]
    by_step = losses.groupby("label")["value"]
    return {f"step {label}": bool(values.nunique() == 1) for label, values in by_step if len(values) > 1}


def history_of(
    store: Store, run_id: str, environment: Mapping[str, Any], without: str = ""
) -> dict[str, dict[str, list[float]]]:
    """Return the centres of earlier runs by stage and metric, oldest first: those of a machine like this.

    Only stages of this run count, of finished runs that are no smoke runs, but for `without`: of each stage
    the latest runs that timed it, however many of other matrices came since.
    """
    found: dict[str, dict[str, list[float]]] = {}
    stages = {f"{stage.kind} {stage.label}": stage.timed for stage in store.stages(run_id)}
    for earlier in islice(_runs_like(store, run_id, environment), _MAX_READ):
        if earlier == without:
            continue
        for (stage, name), launches in _timed(store, earlier, stages.keys()).items():
            centres = found.setdefault(stage, {}).setdefault(name, [])
            if len(centres) < KEPT_RUNS:
                centres.insert(0, centre(launches))
        if all(_is_full(found.get(stage, {})) for stage, timed in stages.items() if timed):
            break
    return found


def _is_full(centres: Mapping[str, Sequence[float]]) -> bool:
    return bool(centres) and min(map(len, centres.values())) >= KEPT_RUNS


def _timed(store: Store, run_id: str, stages: Collection[str]) -> dict[tuple[str, str], list[float]]:
    """Return the launches of a run by stage and metric, of some stages."""
    labels = {stage.key: f"{stage.kind} {stage.label}" for stage in store.stages(run_id)}
    found: dict[tuple[str, str], list[float]] = {}
    for key, metric, qualifier, value, _ in store.values_of(run_id, *COMPARED):
        if labels[key] in stages and value is not None and _is_timing(value):
            name = metric + (f"[{qualifier}]" if qualifier else "")
            found.setdefault((labels[key], name), []).append(value)
    return found


def _runs_like(store: Store, run_id: str, environment: Mapping[str, Any]) -> Iterator[str]:
    """Yield the finished runs before a run that were made on a machine like this, the latest first."""
    own = fingerprint(environment)
    runs = store.runs()
    before = runs.iloc[: list(runs["id"]).index(run_id)]
    for each in reversed(list(before.loc[before["state"] == "finished", "id"])):
        if not store.run(each)["request"].get("smoke") and fingerprint(store.environment(each)) == own:
            yield str(each)


def _added(stages: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return the metrics that the values are of and that are no rows of this suite's own."""
    names = {metric_of(name) for entries in stages.values() for name in entries}
    return sorted(name for name in names if not METRICS.is_built_in(name))


def baseline_runs(results: Path) -> set[str]:
    """Return the ids of the runs that the folder's baselines were made from."""
    names = [path.stem for path in (results / "baselines").glob("*.json")]
    return {baseline_run(name, results) for name in names}


def baseline_run(name: str, results: Path) -> str:
    """Return the id of the run that a baseline was made from, empty where there is no such baseline."""
    if not (results / "baselines" / f"{name}.json").is_file():
        return ""
    return str(read_baseline(name, results)["run"])


def _values(measurements: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """Return per stage label and metric the exact value, or the values of all launches."""
    stages: dict[str, dict[str, Any]] = {}
    for row in undisturbed(measurements).to_dict("records"):
        metric = metric_named(row["metric"])
        if metric.name not in METRICS:
            continue
        if metric.curve or (metric.kind == "sampled" and metric.name not in COMPARED):
            continue
        name = metric.name + (f"[{row['qualifier']}]" if row["qualifier"] else "")
        value = None if row["value"] is None or math.isnan(row["value"]) else float(row["value"])
        entries = stages.setdefault(f"{row['kind']} {row['label']}", {})
        if metric.kind != "sampled":
            entries[name] = {"value": value}
        elif value is not None:
            entries.setdefault(name, {"launches": []})["launches"].append(value)
    return stages


def read_baseline(name: str, results: Path) -> dict[str, Any]:
    """Return what a saved baseline has; raises BenchError where there is none, or it is damaged."""
    path = results / "baselines" / f"{name}.json"
    if name not in names(results):
        _none_such(name, results)
    return read_file(path)


def names(results: Path) -> list[str]:
    """Return the names of the saved baselines."""
    return sorted(file.stem for file in (results / "baselines").glob("*.json"))


def _none_such(name: str, results: Path) -> NoReturn:
    near = nearest(name, names(results)) or "; `bench baseline save NAME` saves one"
    raise BenchError(f"no baseline {name!r} in {results / 'baselines'}{near}")


def read_file(path: Path) -> dict[str, Any]:
    """Return what the file of a baseline has; raises BenchError where it is damaged or of another version."""
    try:
        content: dict[str, Any] = read_json(path)
        version = content["version"]
    except (OSError, ValueError, KeyError, TypeError):
        raise BenchError(f"{path}: not a baseline; save it again") from None
    if version not in (_WITHOUT_HISTORY, VERSION):
        raise BenchError(f"{path}: baseline version must be {VERSION}, got {version}; save it again")
    try:
        checked = _BaselineFile.model_validate(content).model_dump()
    except ValidationError as error:
        first = error.errors()[0]
        what = " ".join([*map(str, first["loc"]), first["msg"]])
        raise BenchError(f"{path}: not a baseline: {what[:_MAX_DETAIL]}; save it again") from None
    METRICS.learn(checked["metrics"])
    return checked


def refuse_unfinished(store: Store, run_id: str) -> None:
    """Raise BenchError for a run that lacks stages: they would seem lost, or new."""
    if store.run(run_id)["state"] != "finished":
        raise BenchError(f"run {run_id} has not finished; run its command again to resume it")


def refuse_smoke(store: Store, run_id: str) -> None:
    if store.run(run_id)["request"].get("smoke"):
        raise BenchError(f"run {run_id} is a smoke run: its numbers cannot be compared")


_MAX_DETAIL = 160
