"""`bench.load` gives the records of either store as frames that pandas, Parquet and a reader can use."""

from __future__ import annotations

import pandas as pd
import pytest

import bench
from bench.errors import BenchError
from bench.records import Measurement, PlannedRequest, Result
from bench.results.store import CellRow, StageRow, Store
from reports.frames.columns import TABLES, about
from reports.frames.record_columns import RECORDS
from tests.support.synthetic_run import Synthetic, build

MADE_UP = Synthetic(optimizers=("adam", "sgd"), backends=("cpu-eager",), seeds=(0, 1))
FEW = Synthetic(optimizers=("adam",), compressions=("none",), backends=("cpu-eager",))
UNITS = {
    **{"_samples_per_s": "samples/s", "_operations_per_s": "operations/s", "_bytes_per_s": "bytes/s"},
    **{"_bytes": "bytes", "_points": "percentage points", "_flops": "FLOPs", "_j": "J"},
}
"""How the name of a column ends → the unit that it must have."""

KINDS = ("measurements", "launches", "summary", "cells", "runs")


@pytest.fixture
def where(tmp_path, store_url):
    """Two runs in a store of either kind, and how `bench.load` finds it."""
    build(tmp_path, MADE_UP, url=store_url, run_id="20260101-000001-quick").close()
    build(tmp_path, FEW, url=store_url, run_id="20260102-000001-ci").close()
    return {"results": tmp_path, "store": store_url}


def test_all_runs_are_read_or_those_that_are_named(where):
    def runs(*names: object) -> list[str]:
        return bench.load(*names, kind="runs", **where)["run_id"].tolist()

    first, second = "20260101-000001-quick", "20260102-000001-ci"
    assert runs() == runs(None) == runs([second, "20260101"]) == [first, second]
    assert runs("latest") == runs("20260102") == [second]
    assert runs(["20260101"]) == [first]


def test_each_kind_has_a_row_for_what_its_name_says(where):
    frames = {kind: bench.load("20260101", kind=kind, **where) for kind in KINDS}
    store = Store.open(where["results"], where["store"])
    run_id = store.find_run("20260101")
    assert len(frames["measurements"]) == len(store.measurements(run_id))
    assert len(frames["launches"]) == len(store.launches(run_id))
    assert frames["cells"]["cell"].tolist() == [cell.name for cell in store.cells(run_id)]
    assert len(frames["runs"]) == 1
    summary = frames["summary"]
    measured = frames["cells"][frames["cells"]["skipped"] == ""]
    assert set(summary["cell"]) == set(measured["cell"])
    assert not summary.duplicated(["cell", "stage_key", "metric", "qualifier"]).any()
    store.close()


def test_values_are_found_by_axes_and_metric(where):
    cells = bench.load("latest", kind="cells", **where)
    assert cells.loc[0, ["optimizer", "train_backend", "seed"]].tolist() == ["adam", "cpu-eager", 0]
    summary = bench.load("latest", kind="summary", **where)
    (latency,) = summary[(summary["metric"] == "latency_s")].to_dict("records")
    launches = bench.load("latest", **where)
    own = launches[(launches["metric"] == "latency_s") & (launches["kind"] == "infer")]
    assert latency["backend"] == "cpu-eager" and latency["launches"] == len(own) == FEW.launches
    assert latency["low"] <= latency["value"] <= latency["high"]
    assert own["value"].min() <= latency["value"] <= own["value"].max()
    assert set(own["unit"]) == {"s"}
    of_launches = bench.load("latest", kind="launches", **where)
    assert set(of_launches["cpu"]) == {"Test CPU"} and set(of_launches["accelerator"]) == {""}
    runs = bench.load("latest", kind="runs", **where)
    assert str(runs["started"].dtype).endswith("UTC]") and (runs["finished"] >= runs["started"]).all()


def test_a_path_names_a_run_or_all_runs_of_a_folder(tmp_path, monkeypatch):
    build(tmp_path / "here", MADE_UP, run_id="20260101-000001-quick").close()
    build(tmp_path / "there", FEW, run_id="20260102-000001-ci").close()
    build(tmp_path / "there", FEW, run_id="20260103-000001-ci").close()
    monkeypatch.chdir(tmp_path)

    def runs(run: object) -> list[str]:
        return bench.load(run, results="here", kind="runs")["run_id"].tolist()

    assert runs("there/20260103-000001-ci") == runs("there/20260103") == ["20260103-000001-ci"]
    assert runs("there") == runs("there/") == ["20260102-000001-ci", "20260103-000001-ci"]
    assert runs(tmp_path / "here" / "20260101") == ["20260101-000001-quick"]
    assert runs(["latest", "there/latest"]) == ["20260101-000001-quick", "20260103-000001-ci"]
    monkeypatch.chdir(tmp_path / "there")
    (tmp_path / "there" / "20260103-000001-ci").mkdir()
    assert bench.load("20260103-000001-ci", results="../here", kind="runs")["matrix"].tolist() == ["quick"]


def test_tables_of_reports_are_read_over_runs(where):
    frame = bench.load(kind="inference", **where)
    assert frame.columns[:2].tolist() == ["run_id", "cell"]
    assert frame["run_id"].unique().tolist() == ["20260101-000001-quick", "20260102-000001-ci"]
    assert frame.attrs["units"]["latency_s"] == "s" and "cell" not in frame.attrs["units"]
    training = bench.load("latest", kind="training", **where)
    assert training["optimizer"].tolist() == ["adam"] and training["steps_to_target"].tolist() == [600.0]


@pytest.fixture(scope="module")
def two_runs(tmp_path_factory):
    """The folder of those two runs, in a store of its own file."""
    folder = tmp_path_factory.mktemp("two-runs")
    build(folder, MADE_UP, run_id="20260101-000001-quick").close()
    build(folder, FEW, run_id="20260102-000001-ci").close()
    return folder


@pytest.mark.parametrize("kind", [*TABLES, *RECORDS])
def test_every_table_is_read_and_each_of_its_columns_is_explained(two_runs, tmp_path, kind):
    frame = bench.load(kind=kind, results=two_runs, store="")
    unknown = [column for column in frame.columns if not about(kind, column)]
    assert not unknown, f"{kind}: say in reports/frames/columns.py what {unknown} are"
    units = frame.attrs["units"]
    assert set(units) <= set(frame.columns)
    for column in frame.select_dtypes("number"):
        ends = (unit for ending, unit in UNITS.items() if column.endswith(ending))
        expected = next(ends, None)
        if expected is not None and frame[column].notna().any():
            assert units.get(column) == expected, column
    frame.to_parquet(tmp_path / "table.parquet")
    assert len(pd.read_parquet(tmp_path / "table.parquet")) == len(frame)


@pytest.mark.parametrize("kind", KINDS)
def test_parquet_keeps_every_column(where, tmp_path, kind):
    frame = bench.load(kind=kind, **where)
    frame.to_parquet(tmp_path / "records.parquet")
    again = pd.read_parquet(tmp_path / "records.parquet")
    assert again.columns.tolist() == frame.columns.tolist() and len(again) == len(frame)
    for name in set(frame.columns) - {"samples"}:
        pd.testing.assert_series_equal(again[name], frame[name], check_dtype=False)
    if kind == "measurements":
        curves = again[again["samples"].notna()]
        assert len(curves) and all(len(samples) > 1 for samples in curves["samples"])


def test_runs_without_an_axis_a_launch_or_a_cell_are_read_with_others(tmp_path):
    store = Store.open(tmp_path)
    stage = StageRow("a" * 64, "infer", "net @ cpu", True, (), PlannedRequest())
    for number, axes in enumerate(({"optimizer": "adam", "seed": 1}, {"optimizer": "sgd"}, {})):
        cell = CellRow("net", axes, {"infer": stage.key})
        store.start_run(f"run-{number}", "i", "m", "bench run", {}, [stage], [cell])
    store.start_run("run-3", "i", "m", "bench run", {}, [], [])
    measured = (Measurement("latency_s", 0.5), Measurement("their_metric", None, reason="unknown"))
    store.add_launch("run-0", stage, 0, Result("ok", measurements=measured))
    store.close()
    for kind in KINDS:
        for run in (None, "run-0", "run-3"):
            bench.load(run, tmp_path, kind=kind).to_parquet(tmp_path / "records.parquet")
    cells = bench.load(results=tmp_path, kind="cells")
    assert cells["optimizer"].dropna().tolist() == ["adam", "sgd"]
    assert cells["seed"].dropna().tolist() == [1] and cells["seed"].dtype == "Int64"


def test_the_environment_variable_names_the_store(tmp_path, server_url, monkeypatch):
    build(tmp_path, FEW, url=server_url).close()
    monkeypatch.setenv("BENCH_STORE", server_url)
    assert bench.load(results=tmp_path, kind="runs")["run_id"].tolist() == ["run-1"]
    with pytest.raises(BenchError, match="no results yet"):
        bench.load(results=tmp_path, store="", kind="runs")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kind": "cell"}, "kind must be one of measurements, .*, got 'cell'; did you mean 'cells'"),
        ({"kind": None}, "kind must be one of"),
        ({"kind": ["cells"]}, "kind must be one of"),
        ({"run": "2027"}, "no run '2027'"),
        ({"run": 7}, "run must be a run's id, 'latest', a path or a list of these, got 7"),
        ({"run": [""]}, "run must be"),
        ({"run": []}, "an empty list"),
        ({"run": "elsewhere/run-1"}, "must be a results folder, or the folder of a run"),
        ({"results": "elsewhere"}, "no results yet"),
        ({"store": "bench.sqlite"}, "must be a URL"),
    ],
)
def test_a_mistake_gets_one_line(tmp_path, arguments, message):
    build(tmp_path, FEW).close()
    with pytest.raises(BenchError, match=message) as failed:
        bench.load(**{"results": tmp_path, **arguments})
    assert "\n" not in str(failed.value)
