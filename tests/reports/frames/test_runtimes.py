"""Backends and formats against eager fp32: which rows there are, what each is held against, what is said."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from bench.records import Result
from bench.results.store import Store
from reports.content import gather
from reports.frames import inference_table, runtimes_table
from reports.frames.view import read, records
from reports.grids.runtimes import compares_runtimes, memory
from tests.support.short_tables import short_tables
from tests.support.synthetic_run import Synthetic, build

FORMATS_ALONE = Synthetic(
    optimizers=("adam",),
    compressions=("none", "int8-dynamic", "int8-static"),
    backends=("cpu-eager", "onnxruntime", "openvino"),
    batch_sizes=(1, 32),
)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return build(tmp_path, FORMATS_ALONE)


def test_each_pair_has_a_row_and_is_held_against_eager_fp32_at_its_batch_size(store: Store) -> None:
    view = read(store, "run-1")
    rows = records(runtimes_table(view, inference_table(view)))
    assert len(rows) == 3 * 3 * 2
    by_place = {(row["backend"], row["format"], row["batch_size"]): row for row in rows}
    assert by_place["cpu-eager", "", 1]["speedup"] == 1
    for batch_size in (1, 32):
        own, reference = by_place["openvino", "", batch_size], by_place["cpu-eager", "", batch_size]
        ratio = reference["latency_s"] / own["latency_s"]
        assert own["speedup"] == pytest.approx(ratio, rel=0.05)
    skipped = by_place["cpu-eager", "int8-static", 1]
    assert (skipped["state"], skipped["speedup"]) == ("skipped", None)
    assert "no kernel" in skipped["reason"]
    for batch_size in (1, 32):
        assert sum(row["fastest"] for row in rows if row["batch_size"] == batch_size) >= 1


def test_the_report_and_the_terminal_show_the_table(store: Store) -> None:
    grid = next(grid for grid in gather(store, "run-1").grids if grid.name == "runtimes")
    assert {"backend", "format", "speedup vs eager fp32"} <= set(grid.columns)
    (left_out,) = (grid for grid in gather(store, "run-1").grids if grid.name == "not-run")
    assert [entry.text for entry in left_out.rows[0]][:2] == ["cpu-eager", "int8-static fp32"]
    assert all("skipped" not in entry.text for row in grid.rows for entry in row)
    table = short_tables(store, "run-1")[-1]
    assert "compared with eager PyTorch in fp32" in table.title and len(table.rows) == 16


@pytest.mark.parametrize(
    ("measured", "shown"),
    [
        ({}, ("1.00 MiB", "resident growth")),
        ({"gpu_allocated_peak_bytes": 2 << 20}, ("2.00 MiB", "on the device, allocated")),
        (
            {"gpu_allocated_peak_bytes": 2 << 20, "gpu_process_bytes": 3 << 20},
            ("3.00 MiB", "on the device, of the process"),
        ),
    ],
)
def test_memory_is_the_devices_where_a_program_runs_on_one(
    measured: dict[str, float], shown: tuple[str, str]
) -> None:
    row = {"rss_growth_bytes": 1 << 20, "gpu_allocated_peak_bytes": None, "gpu_process_bytes": None}
    entry = memory({**row, **measured})
    assert (entry.text, entry.detail) == shown


def test_a_run_of_steps_that_change_the_model_keeps_its_own_table(tmp_path: Path) -> None:
    store = build(tmp_path, Synthetic(optimizers=("adam",)))
    assert short_tables(store, "run-1")[-1].title.startswith("Inference")


DIVERGED = Result("diverged", "the mean training loss is nan")


def after(*labels: str) -> dict[str, Result]:
    """Return the results of stages that a diverged training leaves nothing for."""
    return {label: Result("skipped", "its train stage diverged") for label in labels}


def test_a_first_training_that_diverged_takes_no_row_from_the_others(tmp_path: Path) -> None:
    lost = after("compress digits/adam", "lower digits/adam", "evaluate digits/adam")
    store = build(
        tmp_path,
        replace(
            FORMATS_ALONE,
            optimizers=("adam", "momentum"),
            batch_sizes=(1,),
            results={"train digits/adam": DIVERGED, **lost},
        ),
    )
    view = read(store, "run-1")
    rows = records(runtimes_table(view, inference_table(view)))
    assert {row["state"] for row in rows} == {"ok", "skipped"}
    assert all(row["speedup"] for row in rows if row["state"] == "ok")


def test_inference_is_shown_of_a_seed_that_is_well(tmp_path: Path) -> None:
    lost = after("compress digits/adam/0", "lower digits/adam/0", "evaluate digits/adam/0")
    made_up = Synthetic(optimizers=("adam",), seeds=(0, 1), results={"train digits/adam/0": DIVERGED, **lost})
    table = short_tables(build(tmp_path, made_up), "run-1")[-1]
    latency = table.columns.index("latency")
    assert table.rows and all(row[latency] != "–" for row in table.rows)


def test_one_format_or_one_backend_compares_nothing(tmp_path: Path) -> None:
    store = build(tmp_path, Synthetic(optimizers=("adam",), compressions=("none", "finetune")))
    view = read(store, "run-1")
    assert not compares_runtimes(runtimes_table(view, inference_table(view)))
