"""How many inferences pay for compressing, and when none do."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from bench.matrix.limits import parse_limit
from bench.records import Measurement, Result
from bench.results.store import Store
from reports.frames.inference import inference_table
from reports.frames.limits import limits_of
from reports.frames.run import read_frames
from reports.frames.view import read
from reports.grids.compression import compression_grids
from tests.support.synthetic_run import Synthetic, build

PRICES = {"name": "list of May", "currency": "EUR", "machine_per_hour": 0.36, "energy_per_kwh": None}
MADE_UP = Synthetic(
    optimizers=("adam",),
    compressions=("none", "finetune", "prune-channels:0.5", "prune-channels:0.5+int8-static", "int8-static"),
    launches=6,
    request={"prices": PRICES, "estimate": {"watts": 50.0}},
)
"""Every stage works for 1 s. On onnxruntime a call of none takes 0.4 ms, give or take 2 %."""


def rows_of(folder: Path, made_up: Synthetic) -> pd.DataFrame:
    store = build(folder, made_up)
    table = inference_table(read(store, "run-1")).set_index(["compression", "backend"])
    store.close()
    return table


@pytest.fixture(scope="module")
def frames(tmp_path_factory: pytest.TempPathFactory) -> dict[str, pd.DataFrame]:
    store = build(tmp_path_factory.mktemp("break-even"), MADE_UP)
    found = read_frames(read(store, "run-1"))
    store.close()
    return found


@pytest.fixture(scope="module")
def cells(frames: dict[str, pd.DataFrame]) -> pd.DataFrame:
    return frames["inference"].set_index(["compression", "backend"])


def test_the_seconds_of_compressing_over_those_that_an_inference_saves(cells: pd.DataFrame) -> None:
    row = cells.loc[("prune-channels:0.5", "onnxruntime")]
    assert row["compressing_s"] == 1.0
    assert row["break_even_inferences"] == pytest.approx(1.0 / 0.0002, rel=0.1)
    assert row["break_even_verdict"] == ""


def test_energy_and_money_have_break_evens_of_their_own(cells: pd.DataFrame) -> None:
    row = cells.loc[("prune-channels:0.5", "onnxruntime")]
    # Both are made of time alone here, so that they pay as early as time does.
    assert row["break_even_energy_inferences"] == pytest.approx(row["break_even_inferences"])
    assert row["break_even_money_inferences"] == pytest.approx(row["break_even_inferences"])


def test_what_is_not_faster_never_pays(cells: pd.DataFrame) -> None:
    row = cells.loc[("finetune", "onnxruntime")]
    assert row["break_even_verdict"] == "never: runs as the uncompressed model"
    assert pd.isna(row["break_even_inferences"])


def test_the_uncompressed_model_has_nothing_to_pay_for(cells: pd.DataFrame) -> None:
    row = cells.loc[("none", "onnxruntime")]
    assert pd.isna(row["compressing_s"]) and row["break_even_verdict"] == ""


def test_without_the_uncompressed_model_on_its_backend_it_is_unknown_and_says_so(tmp_path: Path) -> None:
    made_up = replace(MADE_UP, compressions=("int8-static",))
    row = rows_of(tmp_path, made_up).loc[("int8-static", "onnxruntime")]
    assert row["break_even_verdict"] == "the uncompressed model was not measured on this backend"
    assert pd.isna(row["break_even_inferences"])


def with_latencies(folder: Path, plain_ms: tuple[float, ...], int8_ms: tuple[float, ...]) -> pd.Series[Any]:
    """Return the row of int8-static where launches of it and of none take these milliseconds."""
    made_up = replace(MADE_UP, compressions=("none", "int8-static"), backends=("onnxruntime",), launches=0)
    store = build(folder, made_up, finish=False)
    for stage in store.stages("run-1"):
        if stage.kind == "infer":
            own = int8_ms if "int8" in stage.label else plain_ms
            for launch, latency_ms in enumerate(own):
                latency = Measurement("latency_s", latency_ms / 1e3, n=500)
                store.add_launch("run-1", stage, launch, Result("ok", wall_s=1.0, measurements=(latency,)))
    table = inference_table(read(store, "run-1")).set_index("compression")
    store.close()
    return table.loc["int8-static"]


def test_what_is_slower_never_pays(tmp_path: Path) -> None:
    row = with_latencies(tmp_path, (1.0, 1.01, 0.99, 1.0, 1.02, 1.0), (2.0, 2.01, 1.99, 2.0, 2.0, 2.02))
    assert row["break_even_verdict"] == "never: not faster"


def test_what_can_not_be_told_to_be_faster_never_pays(tmp_path: Path) -> None:
    row = with_latencies(tmp_path, (1.0, 1.3, 0.8, 1.1, 0.9, 1.0), (0.98, 1.2, 0.8, 1.05, 0.9, 1.1))
    assert row["break_even_verdict"] == "never: can't tell whether it is faster"


def test_a_format_costs_what_its_lowering_takes_longer(tmp_path: Path) -> None:
    row = with_latencies(tmp_path, (1.0,) * 6, (0.5,) * 6)
    assert row["compressing_s"] == 0.0 and row["break_even_inferences"] == 0.0


def test_measuring_quality_is_no_cost_of_compressing(tmp_path: Path) -> None:
    """Of the second that each stage works the step has 0.2 s; lowering takes 0.3 s longer than of none."""
    measured = {
        "compress digits/adam/0/prune-channels:0.5": (Measurement("compression_s", 0.2),),
        "lower digits/adam/0/prune-channels:0.5+int8-static@onnxruntime": (Measurement("lowering_s", 0.7),),
        "lower digits/adam/0/none@onnxruntime": (Measurement("lowering_s", 0.4),),
    }
    row = rows_of(tmp_path, replace(MADE_UP, measured=measured)).loc[
        ("prune-channels:0.5+int8-static", "onnxruntime")
    ]
    assert row["compressing_s"] == pytest.approx(0.5)


def test_what_an_earlier_run_made_costs_what_it_took_there(tmp_path: Path) -> None:
    store = build(tmp_path, MADE_UP)
    again = Store.open(tmp_path)
    stages = {stage.key: stage for stage in again.stages("run-1")}
    compress = next(stage for stage in stages.values() if stage.kind == "compress")
    assert again.making_s([compress.key]) == {compress.key: 1.0}
    assert again.making_s(["0" * 64]) == {}
    again.close()
    store.close()


def test_the_compression_table_says_after_how_many_inferences_it_pays(
    frames: dict[str, pd.DataFrame],
) -> None:
    grid = next(grid for grid in compression_grids(frames) if grid.name == "tradeoff")
    place = grid.columns.index("pays after (inferences)")
    names = [grid.columns.index(name) for name in ("compression", "backend")]
    entries = {tuple(row[name].text for name in names): row[place] for row in grid.rows}
    finetune = entries["finetune", "onnxruntime"]
    assert (finetune.text, finetune.detail) == ("never", "runs as the uncompressed model")
    channels = entries["prune-channels:0.5", "onnxruntime"]
    assert channels.text.replace(",", "").isdigit() and "energy" in channels.detail


def test_a_matrix_may_limit_the_break_even(tmp_path: Path) -> None:
    store = build(tmp_path, MADE_UP)
    view = read(store, "run-1")
    found = limits_of(view, read_frames(view), [parse_limit("break_even_inferences <= 1000")])
    store.close()
    assert any(finding.verdict == "broken" for finding in found.findings)
