"""A run in an MLflow store, read back by MLflow's own client."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bench.errors import BenchError
from bench.interchange.mlflow import DATABASE, send
from bench.results.store import Store
from tests.support.synthetic_run import Synthetic, build

mlflow = pytest.importorskip("mlflow")
pytest.importorskip("alembic")

HOSTILE = ("..", "\x1b[31mred", "n" * 300, "=cmd()", "日本", "<b>'\"")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two runs, both entered in the store `tracked`; making that takes seconds."""
    folder = tmp_path_factory.mktemp("mlflow")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        store = build(folder / "results", Synthetic(optimizers=("adam",)))
        assert send(store, "run-1", "tracked") == "entered run run-1 with 1 training and 8 cells in tracked"
        made_up = Synthetic(("adam",), ("none",), ("cpu-eager",), workloads=HOSTILE)
        send(build(folder / "results", made_up, run_id="run-2"), "run-2", "tracked")
    return folder


@pytest.fixture(scope="module")
def client(folder: Path) -> Any:
    return mlflow.MlflowClient(tracking_uri=f"sqlite:///{folder / 'tracked' / DATABASE}")


def below(client: Any, run_id: str) -> tuple[Any, list[Any]]:
    """Return the run of MLflow's that one of ours has, and those nested in it."""
    experiments = [each.experiment_id for each in client.search_experiments()]
    found = list(client.search_runs(experiments, max_results=1000))
    (parent,) = (run for run in found if run.data.tags.get("bench.run_id") == run_id)
    return parent, [run for run in found if run.data.tags.get("mlflow.parentRunId") == parent.info.run_id]


def test_a_run_has_a_nested_run_for_each_training_and_cell(client: Any) -> None:
    parent, nested = below(client, "run-1")
    assert parent.info.status == "FINISHED" and parent.data.tags["mlflow.source.name"].startswith("bench run")
    assert len(nested) == 9
    cell = next(run for run in nested if run.info.run_name == "digits/adam/int8-static@onnxruntime")
    assert cell.data.params["compression"] == "int8-static" and cell.data.params["batch_size"] == "1"
    assert cell.data.metrics["artifact_bytes"] == 2e5 and "latency_s" in cell.data.metrics
    skipped = next(run for run in nested if run.info.run_name == "digits/adam/int8-static@cpu-eager")
    assert skipped.data.tags["bench.state"] == "skipped" and "latency_s" not in skipped.data.metrics


def test_curves_of_a_training_are_metrics_by_step(client: Any) -> None:
    _, nested = below(client, "run-1")
    training = next(run for run in nested if run.data.tags["bench.kind"] == "training")
    history = client.get_metric_history(training.info.run_id, "curve/quality")
    assert [metric.step for metric in history] == list(range(60, 1201, 60))
    assert training.data.metrics["steps_to_target"] == 600.0


def test_names_of_any_kind_are_entered(client: Any) -> None:
    _, nested = below(client, "run-2")
    assert len(nested) == 2 * len(HOSTILE)
    assert all(run.info.run_name.isprintable() for run in nested)


def test_a_run_is_entered_once_and_nothing_is_left_elsewhere(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    with pytest.raises(BenchError, match="tracked: has run run-1 already"):
        send(Store.open(folder / "results", create=False), "run-1", "tracked")
    assert {path.name for path in folder.iterdir()} == {"results", "tracked"}


def test_a_server_that_cannot_be_reached_is_one_line(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    store = Store.open(folder / "results", create=False)
    with pytest.raises(BenchError, match="MLflow refuses: ") as failed:
        send(store, "run-1", "http://127.0.0.1:9")
    assert "\n" not in str(failed.value)
