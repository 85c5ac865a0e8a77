"""A run in an MLflow store: a run of MLflow's for it, and below that one for each training and each cell.

Axes are parameters, the columns of our tables metrics, curves of trainings metrics by step. Nothing is sent
but to the place that is named: MLflow's own telemetry is turned off.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from bench.errors import BenchError
from bench.formatting import counted, one_line
from bench.interchange.entries import CELL, TRAINING, Entry, read_entries
from bench.results.store import Store
from reports.formats.table import required
from reports.frames.view import RunView

NAME = "mlflow"

DATABASE = "mlflow.db"
"""The file of a store in a folder, as `mlflow server` has it by default."""

_RUN_TAG = "bench.run_id"
_MAX_VALUE = 500
_MAX_NAME = 250
_MAX_METRICS = 500
"""What every version of MLflow takes: characters of a parameter and of a name, metrics of a request."""


def send(store: Store, run_id: str, to: str) -> str:
    """Enter a run at a tracking URI or in a folder; returns a line on what was entered.

    Raises BenchError without MLflow, where the run is there already, and where the store cannot be reached.
    """
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
    mlflow = required("mlflow", "export", "--format mlflow")
    view, entries = read_entries(store, run_id)
    client = mlflow.MlflowClient(tracking_uri=_uri(to))
    try:
        experiment = _experiment(client, f"bench {view.run['matrix']}", _artifacts(to))
        quote = '"' if "'" in run_id else "'"
        same = f"tags.`{_RUN_TAG}` = {quote}{run_id}{quote}"
        if client.search_runs([experiment], same, max_results=1):
            raise BenchError(f"{to}: has run {run_id} already; delete it there to export it again")
        parent = _enter_run(client, experiment, view)
        for entry in entries:
            _enter(client, experiment, parent, entry, view)
    except mlflow.exceptions.MlflowException as error:
        raise BenchError(f"{to}: MLflow refuses: {one_line(str(error))}") from None
    kinds = [sum(entry.kind == kind for entry in entries) for kind in (TRAINING, CELL)]
    what = " and ".join(map(counted, kinds, ("training", "cell")))
    return f"entered run {run_id} with {what} in {to}"


def _uri(to: str) -> str:
    """Return the address of a store; a folder has a database, since MLflow gives up stores of plain files."""
    if "://" in to or to == "databricks":
        return to
    file = _database(to)
    file.parent.mkdir(parents=True, exist_ok=True)
    return f"sqlite:///{file}"


def _database(to: str) -> Path:
    path = Path(to).resolve()
    return path if path.suffix == ".db" else path / DATABASE


def _artifacts(to: str) -> str | None:
    """Return where a local store keeps files of runs; a server knows itself."""
    return None if "://" in to or to == "databricks" else (_database(to).parent / "artifacts").as_uri()


def _experiment(client: Any, name: str, artifacts: str | None) -> str:
    found = client.get_experiment_by_name(name)
    return str(found.experiment_id if found else client.create_experiment(name, artifacts))


def _enter_run(client: Any, experiment: str, view: RunView) -> str:
    run = view.run
    tags = {
        _RUN_TAG: str(run["id"]),
        "mlflow.source.name": str(run["command"]),
        "bench.matrix": str(run["matrix"]),
        "bench.state": str(run["state"]),
    }
    entered = client.create_run(
        experiment, start_time=_ms(run["started_s"]), tags=tags, run_name=str(run["id"])[:_MAX_NAME]
    )
    client.set_terminated(entered.info.run_id, end_time=_ms(run["finished_s"] or time.time()))
    return str(entered.info.run_id)


def _enter(client: Any, experiment: str, parent: str, entry: Entry, view: RunView) -> None:
    from mlflow.entities import Param

    started_ms = _ms(view.run["started_s"])
    tags = {
        "mlflow.parentRunId": parent,
        "bench.kind": entry.kind,
        "bench.state": entry.state,
        **({"bench.reason": entry.reason[:_MAX_VALUE]} if entry.reason else {}),
    }
    entered = client.create_run(
        experiment, start_time=started_ms, tags=tags, run_name=entry.name[:_MAX_NAME] or entry.kind
    )
    id_ = entered.info.run_id
    client.log_batch(
        id_, params=[Param(name, str(value)[:_MAX_VALUE]) for name, value in entry.parameters.items()]
    )
    metrics = list(_metrics(entry, started_ms))
    for first in range(0, len(metrics), _MAX_METRICS):
        client.log_batch(id_, metrics=metrics[first : first + _MAX_METRICS])
    status = "FINISHED" if entry.state in ("ok", "skipped") else "FAILED"
    client.set_terminated(id_, status, end_time=_ms(view.run["finished_s"] or time.time()))


def _metrics(entry: Entry, moment_ms: int) -> Iterator[Any]:
    from mlflow.entities import Metric

    for name, value in entry.metrics.items():
        yield Metric(name, value, moment_ms, 0)
    for name, points in entry.curves.items():
        yield from _by_step(f"curve/{name}", points, moment_ms)


def _by_step(name: str, points: Sequence[tuple[int, float]], moment_ms: int) -> Iterator[Any]:
    from mlflow.entities import Metric

    for step, value in points:
        yield Metric(name, value, moment_ms, step)


def _ms(seconds: float) -> int:
    return round(1e3 * seconds)
