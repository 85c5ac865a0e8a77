"""What a store's runs have measured for a workload, for advice."""

from __future__ import annotations

from dataclasses import astuple, replace
from pathlib import Path

import pytest

from bench.errors import BenchError
from bench.results.store import Store
from reports.frames.break_even import BREAK_EVEN_COLUMNS, BreakEven, break_even_over
from reports.frames.candidates import Candidate, candidates_of
from reports.frames.inference import inference_table
from reports.frames.tradeoff import tradeoff_table
from reports.frames.view import read, records
from tests.support.synthetic_run import ENVIRONMENT, Synthetic, build

MADE_UP = Synthetic(
    optimizers=("adam",),
    compressions=("none", "prune-channels:0.5", "int8-static"),
    seeds=(0, 1, 2),
    launches=6,
)


def named(store: Store, name: str, **options: object) -> Candidate:
    found = candidates_of(store, **options)  # type: ignore[arg-type]
    (candidate,) = (each for each in found.every if each.name == name)
    return candidate


def test_a_choice_is_averaged_over_seeds_and_keeps_its_launches(tmp_path: Path) -> None:
    store = build(tmp_path, MADE_UP)
    found = named(store, "int8-static on onnxruntime (fp32)")
    assert found.seeds == 3 and len(found.launches_s) == 6 and not found.preliminary
    loss = found.values["quality_loss_points"]
    assert loss.value == pytest.approx(0.4) and loss.low == pytest.approx(0.4)
    latency = found.values["latency_s"]
    assert latency.low is not None and latency.low < latency.value < (latency.high or 0)
    assert found.value("artifact_bytes") == 2e5 and found.value("no_such_metric") is None
    assert found.cell == "digits/adam/int8-static@onnxruntime"


def test_the_break_even_is_that_of_the_tables_averaged_over_seeds(tmp_path: Path) -> None:
    store = build(tmp_path, MADE_UP)
    assert named(store, "none on onnxruntime (fp32)").break_even is None
    table = tradeoff_table(view := read(store, "run-1"), inference_table(view))
    for compression in ("prune-channels:0.5", "int8-static"):
        own = table[(table["compression"] == compression) & (table["backend"] == "onnxruntime")]
        (row,) = records(own, BREAK_EVEN_COLUMNS)
        found = named(store, f"{compression} on onnxruntime (fp32)")
        assert found.break_even is not None and list(row.values()) == list(astuple(found.break_even))
        assert found.value("break_even_inferences") == row["break_even_inferences"]


def test_what_one_training_never_pays_is_no_number(tmp_path: Path) -> None:
    rows = [{**dict.fromkeys(BREAK_EVEN_COLUMNS), "compressing_s": 1.0} for _ in range(2)]
    rows[0] |= {"break_even_inferences": 10.0, "break_even_verdict": ""}
    rows[1] |= {"break_even_verdict": "never: not faster"}
    assert break_even_over(rows) == BreakEven(1.0, None, None, None, "never: not faster")
    assert break_even_over(rows[:1]) == BreakEven(1.0, 10.0, None, None, "")


def test_what_a_reused_artifact_took_is_read_from_the_run_that_made_it(tmp_path: Path) -> None:
    store = build(tmp_path, MADE_UP)
    stages = {stage.key: stage for stage in store.stages("run-1")}
    store.start_run(
        "run-2", "identity", "quick", "bench run", {}, list(stages.values()), store.cells("run-1")
    )
    for launch in store.launch_records("run-1"):
        stage = stages[launch.stage_key]
        reused = stage.kind in ("train", "compress", "lower")
        result = replace(launch.result, body_s=0.0) if reused else launch.result
        store.add_launch("run-2", stage, launch.round, result, reused=reused)
    store.finish_run("run-2")
    name = "prune-channels:0.5 on onnxruntime (fp32)"
    for found in (named(store, name), named(store, name, runs=["run-2"])):
        assert found.run_id == "run-2" and found.break_even is not None
        assert found.break_even.compressing_s == 1.0


def test_the_latest_run_counts_and_runs_of_other_machines_are_left_out(tmp_path: Path) -> None:
    other = {**ENVIRONMENT, "cpu": {"model": "Other CPU", "cores": 4}}
    build(tmp_path, replace(MADE_UP, environment=other), run_id="run-0").close()
    build(tmp_path, MADE_UP, run_id="run-1").close()
    store = build(tmp_path, replace(MADE_UP, compressions=("none",)), run_id="run-2")
    found = candidates_of(store, "digits")
    assert found.runs == ("run-2", "run-1") and found.machine.startswith("Test CPU")
    assert {each.run_id for each in found.every if each.uncompressed} == {"run-2"}
    assert {each.run_id for each in found.every if not each.uncompressed} == {"run-1"}
    assert any("left out, of another machine" in note and "run-0" in note for note in found.notes)
    assert candidates_of(store, "digits", ["run-0"]).machine.startswith("Other CPU")


def test_a_run_whose_ceilings_are_taken_over_is_of_the_machine_of_the_others(tmp_path: Path) -> None:
    build(tmp_path, MADE_UP, run_id="run-1")
    of_yesterday = {**MADE_UP.environment, "libraries": {"openvino": "2026.1"}, "threads": 64}
    store = build(tmp_path, replace(MADE_UP, taken_over={"ceilings": of_yesterday}), run_id="run-2")
    found = candidates_of(store)
    assert found.runs == ("run-2", "run-1") and not any("another machine" in note for note in found.notes)


def test_unfinished_and_smoke_runs_do_not_count(tmp_path: Path) -> None:
    store = build(tmp_path, MADE_UP, finish=False)
    with pytest.raises(BenchError, match="no run has finished"):
        candidates_of(store)
    store = build(tmp_path, replace(MADE_UP, request={"smoke": True}), run_id="run-2")
    with pytest.raises(BenchError, match="no run has finished"):
        candidates_of(store)
    with pytest.raises(BenchError, match="run-2 is a smoke run"):
        candidates_of(store, runs=["run-2"])


def test_the_smallest_batch_size_is_taken_and_said(tmp_path: Path) -> None:
    store = build(tmp_path, replace(MADE_UP, batch_sizes=(8, 1, 32)))
    found = candidates_of(store)
    assert found.batch_size == 1 and any("--batch-size takes 8, 32 too" in note for note in found.notes)
    assert candidates_of(store, batch_size=32).batch_size == 32
    with pytest.raises(BenchError, match="was measured at 1, 8, 32, not at 2"):
        candidates_of(store, batch_size=2)


def test_a_workload_that_no_run_has_is_named_with_the_nearest(tmp_path: Path) -> None:
    store = build(tmp_path, replace(MADE_UP, workloads=("digits", "letters")))
    with pytest.raises(BenchError, match="no run has served 'digit'; did you mean 'digits'"):
        candidates_of(store, "digit")
    with pytest.raises(BenchError, match="--workload must name one of the runs' workloads: digits, letters"):
        candidates_of(store)
