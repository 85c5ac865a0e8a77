"""What the suite itself costs, by pytest-benchmark; `docs/pages/guides/ci.md` compares two commits by them.

The default suite runs each once, untimed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bench.instruments import clock
from bench.matrix.reading import read_matrix
from bench.plan.planner import make_plan
from bench.records import Measurement, PlannedRequest, Result
from bench.results.store import CellRow, StageRow, Store
from reports.frames.run import read_frames
from reports.frames.view import read
from tests.support.synthetic_run import Synthetic, build

HUNDRED_THOUSAND = """
[train]
workload = "digits"
optimizer = ["sgd", "momentum", "adam", "rmsprop"]
seed = {seeds}
[infer]
compression = ["none", "finetune", "prune-mean:1", "prune-channels:0.5", "student:0.5"]
backend = "cpu-eager"
batch_size = [1, 2, 4, 8, 16]
"""


def test_the_timer_around_a_call_that_does_nothing(benchmark: Any) -> None:
    samples = benchmark(clock.sample, lambda: None, seconds=60.0, most=10_000)
    assert len(samples.durations_s) == 10_000


@pytest.mark.slow
def test_a_plan_of_100_000_cells(benchmark: Any, tmp_path: Path) -> None:
    path = tmp_path / "large.toml"
    path.write_text(HUNDRED_THOUSAND.format(seeds=list(range(1000))))
    plan = benchmark.pedantic(lambda: make_plan(read_matrix(str(path)), cpus=2), rounds=3)
    assert len(plan.cells) == 100_000
    # 4,000 trainings; four compressions of each; each model lowered and evaluated at five batch sizes.
    assert len(plan.of_kind("train")) == 4_000
    assert len(plan.of_kind("lower")) == 100_000


def test_a_launch_entered_into_the_store(benchmark: Any, tmp_path: Path) -> None:
    store = Store.open(tmp_path)
    stage = StageRow("0" * 64, "infer", "infer one", True, (), PlannedRequest())
    store.start_run("run-1", "identity", "quick", "bench run", {}, [stage], [CellRow("one", {}, {}, "")])
    timing = Measurement("latency_s", 0.001, n=400, samples=tuple(0.001 for _ in range(400)))
    others = [Measurement("load_s", 0.1, qualifier=str(number)) for number in range(20)]
    result = Result("ok", measurements=(timing, *others), environment={"cpu": "one"})
    rounds = iter(range(10**9))
    benchmark(lambda: store.add_launch("run-1", stage, next(rounds), result))
    store.close()


@pytest.mark.slow
def test_the_tables_of_600_cells(benchmark: Any, tmp_path: Path) -> None:
    made_up = Synthetic(
        optimizers=("adam", "momentum", "sgd"),
        seeds=tuple(range(10)),
        compressions=("none", "finetune", "prune-mean:1", "prune-channels:0.5", "int8-static"),
        backends=("cpu-eager", "cpu-inductor", "onnxruntime", "openvino"),
    )
    store = build(tmp_path, made_up)
    frames = benchmark.pedantic(lambda: read_frames(read(store, "run-1")), rounds=3)
    assert len(frames["inference"]) == 600
    store.close()
