"""Tables say what several devices bring: efficiency with its interval, communication, memory of a rank."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from bench.records import Measurement, PlannedRequest, Result
from bench.results.store import CellRow, StageRow, Store
from reports.frames import steps_table, training_table
from reports.frames.training import training_label
from reports.frames.view import RunView, read, records
from reports.grids.grid import build_grid
from reports.grids.run import training_columns
from tests.support.synthetic_run import ENVIRONMENT

ALONE_S = (0.0101, 0.0100, 0.0099, 0.0100, 0.0101, 0.0099)
TOGETHER_S = {"ddp": (0.0062, 0.0063, 0.0061, 0.0062, 0.0063, 0.0061), "fsdp": (0.0100,) * 6}
AXES = {
    **{"workload": "digits", "optimizer": "adam", "train.backend": "cpu-eager", "train.precision": "fp32"},
    **{"train.batch_size": 32, "seed": 0, "compression": "none", "backend": "cpu-eager"},
    **{"precision": "fp32", "batch_size": 1},
}


def stage(kind: str, name: str) -> StageRow:
    key = hashlib.sha256(f"{kind} {name}".encode()).hexdigest()
    return StageRow(key, kind, f"{kind} {name}", kind in ("step", "single"), (), PlannedRequest())


@pytest.fixture
def view(tmp_path: Path) -> RunView:
    single, cells, stages = stage("single", "x2"), [], []
    store = Store.open(tmp_path)
    for devices, parallel in ((1, "none"), (2, "ddp"), (2, "fsdp")):
        train, step = stage("train", parallel), stage("step", parallel)
        keys = {"train": train.key, "step": step.key, **({"single": single.key} if devices > 1 else {})}
        axes = {**AXES, "devices": devices, "parallel": parallel}
        cells.append(CellRow(f"digits/adam/{parallel}", axes, keys))
        stages += [train, step]
    store.start_run("run-1", "id", "devices", "bench run", {}, [*stages, single], cells)
    for row in (*stages, single):
        for round_ in range(6 if row.timed else 1):
            measured = measurements(row, round_)
            result = Result("ok", wall_s=1.0, body_s=1.0, measurements=measured, environment=ENVIRONMENT)
            store.add_launch("run-1", row, round_, result)
    store.finish_run("run-1")
    return read(store, "run-1")


def measurements(row: StageRow, round_: int) -> tuple[Measurement, ...]:
    way = row.label.partition(" ")[2]
    if row.kind == "single":
        threads = Measurement("single_threads", 1.0)
        return (Measurement("single_step_s", ALONE_S[round_], n=50), threads)
    if row.kind == "train":
        return (Measurement("quality", 0.9),)
    step = Measurement("step_latency_s", TOGETHER_S.get(way, ALONE_S)[round_], n=50)
    if way == "none":
        return (step,)
    return (
        step,
        Measurement("ranks", 2.0, method=f"{way} over gloo, 1 thread each"),
        Measurement("communication_share", 0.25, n=20),
        Measurement("rank_peak_rss_bytes", 4e8, qualifier="rank 0"),
        Measurement("rank_peak_rss_bytes", 5e8, qualifier="rank 1"),
    )


def test_efficiency_is_the_time_of_one_over_that_of_all_times_their_number(view: RunView) -> None:
    by_way = {row["parallel"]: row for row in records(training_table(view))}
    ddp, fsdp = by_way["ddp"], by_way["fsdp"]
    assert ddp["scaling_efficiency"] == pytest.approx(0.0100 / (2 * 0.0062), rel=0.01)
    assert ddp["scaling_efficiency_low"] < ddp["scaling_efficiency"] < ddp["scaling_efficiency_high"]
    assert fsdp["scaling_efficiency"] == pytest.approx(0.5, rel=0.01)
    assert not ddp["scaling_efficiency_preliminary"]
    assert ddp["single_step_s"] == pytest.approx(0.0100) and ddp["single_threads"] == 1


def test_one_device_has_no_efficiency_and_no_communication(view: RunView) -> None:
    (alone,) = (row for row in records(training_table(view)) if row["devices"] == 1)
    assert alone["parallel"] == "none"
    assert alone["scaling_efficiency"] is alone["communication_share"] is alone["single_step_s"] is None


def test_memory_is_that_of_the_largest_rank(view: RunView) -> None:
    memory = {row["parallel"]: row["rank_peak_rss_bytes"] for row in records(steps_table(view))}
    assert memory == {"none": None, "ddp": 5e8, "fsdp": 5e8}


def test_people_see_the_columns_where_several_devices_train(view: RunView) -> None:
    frame = training_table(view)
    grid = build_grid("training", "Training", training_columns(frame), frame)
    assert {"devices", "parallel", "scaling efficiency", "communication"} <= set(grid.columns)
    entry = grid.rows[1][grid.columns.index("scaling efficiency")]
    assert entry.text.startswith("80") and " to " in entry.detail
    alone = build_grid("training", "Training", training_columns(frame[:1]), frame[:1])
    assert not {"devices", "parallel", "scaling efficiency", "communication"} & set(alone.columns)


def test_a_training_is_named_by_its_devices(view: RunView) -> None:
    rows = records(training_table(view))
    assert [training_label(row, rows) for row in rows] == ["adam, 1 device", "adam, ddp x2", "adam, fsdp x2"]


def test_a_note_says_what_connected_the_ranks(view: RunView) -> None:
    notes = {row["parallel"]: row["notes"] for row in records(steps_table(view))}
    assert notes == {
        "none": "",
        "ddp": "ddp over gloo, 1 thread each",
        "fsdp": "fsdp over gloo, 1 thread each",
    }
