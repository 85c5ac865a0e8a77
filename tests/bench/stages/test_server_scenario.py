"""A matrix that asks gets the rate of Poisson arrivals that its p99 allows, once for each structure."""

from __future__ import annotations

import pytest

from bench.matrix.reading import read_matrix
from bench.plan.planner import make_plan
from bench.results.store import Store

MATRIX = """
[train]
workload = "digits"
optimizer = "sgd"
[infer]
compression = ["none", "prune-mean:1"]
backend = ["cpu-eager", "onnxruntime"]
[server]
p99_ms = 200
"""


@pytest.fixture
def matrix(tmp_path):
    path = tmp_path / "server.toml"
    path.write_text(MATRIX)
    return path


def test_it_is_planned_once_for_a_structure_and_only_on_request(matrix):
    assert len(make_plan(read_matrix(str(matrix)), cpus=2).of_kind("serve")) == 2
    matrix.write_text(MATRIX.partition("[server]")[0])
    assert make_plan(read_matrix(str(matrix)), cpus=2).of_kind("serve") == []


@pytest.mark.slow
def test_the_rate_that_held_the_bound_or_why_there_is_none_is_on_record(bench, matrix, tmp_path):
    pytest.importorskip("mlperf_loadgen")
    done = bench("run", "--matrix", matrix, "--smoke", "--results", tmp_path)
    assert done.returncode == 0, done.stderr
    store = Store.open(tmp_path, create=False)
    frame = store.measurements(store.find_run(None))
    rates = frame[frame["metric"] == "server_rate_per_s"].set_index("label")
    waits = frame[frame["metric"] == "server_p99_s"].set_index("label")
    assert len(rates) == 2
    for label, row in rates.iterrows():
        # So few arrivals need not show a 99th percentile; then the reason says so, and there is no rate.
        if row["value"] == row["value"]:
            assert row["value"] > 0 and waits.loc[label, "value"] <= 0.2
        else:
            assert "not shown to hold by" in row["reason"] or "over the bound" in row["reason"]
