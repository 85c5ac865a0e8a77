"""Where the time and memory of a training step go, as the tables and the figure say it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from bench.analysis.statistics import launch_interval
from bench.records import Measurement, Result
from bench.results.store import Store
from reports.frames.run import read_frames
from reports.frames.steps import MEMORY, PARTS, steps_table
from reports.frames.view import RunView, read, records
from reports.grids.grid import Grid
from reports.grids.steps import steps_grids
from reports.plots.steps import draw_steps
from tests.support.synthetic_run import Synthetic, build, key_of

VARIANTS = ("adam", "adam:variant=foreach", "adam:variant=fused", "momentum")
PEAKS = {"cpu": {"operations_per_s": {"fp32": 1e12}, "bytes_per_s": 1e11}}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    made_up = Synthetic(
        optimizers=VARIANTS,
        compressions=("none",),
        backends=("cpu-eager",),
        seeds=(0, 1),
        peaks=PEAKS,
        recomputed_flops=1e9,
    )
    return build(tmp_path_factory.mktemp("results"), made_up)


@pytest.fixture(scope="module")
def view(store: Store) -> RunView:
    return read(store, "run-1")


def entry(grid: Grid, optimizer: str, column: str) -> tuple[str, str]:
    names = list(grid.columns)
    row = next(row for row in grid.rows if row[names.index("optimizer")].text == optimizer)
    found = row[names.index(column)]
    return found.text, found.detail


def test_a_step_has_a_row_whatever_the_number_of_seeds(view: RunView) -> None:
    rows = records(steps_table(view))
    assert [row["optimizer"] for row in rows] == list(VARIANTS)


def test_losses_repeat_where_each_launch_has_the_same_bits(view: RunView, store: Store) -> None:
    repeats = {row["optimizer"]: row["losses_repeat"] for row in records(steps_table(view))}
    assert (repeats["adam"], repeats["momentum"]) == (True, False)
    (grid,) = steps_grids(read_frames(view))
    assert entry(grid, "adam", "losses repeat")[0] == "yes"
    assert entry(grid, "momentum", "losses repeat")[0] == "no"


def test_of_one_launch_nobody_knows_whether_its_losses_repeat(tmp_path: Path) -> None:
    made_up = Synthetic(optimizers=("adam",), compressions=("none",), backends=("cpu-eager",), launches=1)
    (row,) = records(steps_table(read(build(tmp_path, made_up), "run-1")))
    assert row["losses_repeat"] is None


def test_shares_come_with_intervals_over_launches(view: RunView, store: Store) -> None:
    row = records(steps_table(view))[0]
    for unit in ("s", "share"):
        values = store.launch_values("run-1", key_of("step digits/adam"), f"step_optimizer_{unit}")
        interval = launch_interval(values)
        assert row[f"optimizer_{unit}"] == interval.value
        assert (row[f"optimizer_low_{unit}"], row[f"optimizer_high_{unit}"]) == (interval.low, interval.high)
    assert row["forward_s"] == pytest.approx(row["forward_low_s"]) == 0.003
    assert sum(row[f"{part}_share"] for part in PARTS) == pytest.approx(1, rel=1e-3)
    assert row["step_parts_ratio"] == pytest.approx(1.05, rel=0.01)


def test_variants_of_an_optimizer_are_rows_that_differ_in_its_own_time(view: RunView) -> None:
    rows = {row["optimizer"]: row for row in records(steps_table(view))}
    times = [rows[name]["optimizer_s"] for name in VARIANTS[:3]]
    assert times == pytest.approx([0.003, 0.0021, 0.0015], rel=0.01)
    assert [rows[name]["variant"] for name in VARIANTS] == ["loop", "foreach", "fused", "loop"]


def test_the_parts_of_the_memory_add_up_to_its_peak(view: RunView) -> None:
    for row in records(steps_table(view)):
        assert sum(row[metric] for metric in MEMORY.values()) == row["peak_tensor_bytes"]


def test_mfu_counts_the_models_operations_and_has_the_interval_of_the_step_time(view: RunView) -> None:
    row = records(steps_table(view))[0]
    assert row["utilization"] == pytest.approx(3e9 / row["step_latency_s"] / 1e12)
    assert row["utilization_low"] == pytest.approx(3e9 / row["step_latency_high_s"] / 1e12)
    assert row["utilization_high"] == pytest.approx(3e9 / row["step_latency_low_s"] / 1e12)
    assert row["hardware_utilization"] == pytest.approx(4e9 / row["step_latency_s"] / 1e12)


def frames_of(folder: Path, measurements: Iterable[Measurement], **made_up: Any) -> dict[str, pd.DataFrame]:
    """Return the tables of a run whose one training step measured this."""
    result = Result("ok", measurements=tuple(measurements))
    whole = Synthetic(("adam",), ("none",), results={"step digits": result}, **made_up)
    return read_frames(read(build(folder, whole), "run-1"))


def test_the_first_step_stands_apart_from_the_others_with_what_was_compiled_for_it(tmp_path: Path) -> None:
    measured = [Measurement("step_latency_s", 0.01, n=100), Measurement("first_call_s", 7.5)]
    frames = frames_of(tmp_path, measured)
    assert frames["steps"]["first_call_s"].tolist() == [7.5]
    (grid,) = steps_grids(frames)
    assert entry(grid, "adam", "first step, with compilation")[0] == "7.50 s"


def test_an_optimizers_own_products_are_not_the_models(tmp_path: Path) -> None:
    flops = {"forward": 1e9, "backward": 2e9, "optimizer": 5e8, "recomputed": 0.0}
    measurements = [Measurement(f"{part}_flops", count) for part, count in flops.items()]
    measurements += [Measurement("least_bytes_moved", 1e8), Measurement("step_latency_s", 0.01)]
    (row,) = records(frames_of(tmp_path, measurements, peaks=PEAKS)["steps"])
    assert row["utilization"] == pytest.approx(0.3) and row["hardware_utilization"] == pytest.approx(0.35)


def test_what_the_optimizers_count_lacks_leaves_mfu_exact_and_hfu_a_lower_bound(tmp_path: Path) -> None:
    lacking = "no formula for aten.linalg_qr"
    measurements = [Measurement(f"{part}_flops", 1e9) for part in ("forward", "backward", "recomputed")]
    measurements += [
        Measurement("optimizer_flops", 0.0, reason=f"incomplete: {lacking}"),
        Measurement("flops_complete", 0.0, reason=lacking),
        Measurement("least_bytes_moved", 1e8),
        Measurement("step_latency_s", 0.01),
    ]
    (grid,) = steps_grids(frames_of(tmp_path, measurements, peaks=PEAKS))
    assert entry(grid, "adam", "% of peak (MFU)") == ("20.00 %", "")
    text, why = entry(grid, "adam", "% of peak with recomputation (HFU)")
    assert text == "≥ 30.00 %" and "aten.linalg_qr" in why


def test_the_table_shows_time_and_share_of_each_part_with_their_intervals(view: RunView) -> None:
    (grid,) = steps_grids(read_frames(view))
    text, share = entry(grid, "adam:variant=fused", "optimizer time")
    assert text.startswith("1.50 ms (1.3") and share.startswith("16.7 % (1")
    assert entry(grid, "adam", "forward time")[0] == "3.00 ms (3.00 to 3.00)"
    assert entry(grid, "adam", "parts / step")[0] == "1.05"
    mfu, bounds = entry(grid, "adam", "% of peak (MFU)")
    assert mfu == "30.00 %" and " to " in bounds
    assert entry(grid, "adam", "weights at the peak") == ("9.54 MiB", "19.2 %")
    assert ("variant", "loop") not in grid.shared


def bars_in(svg: bytes, names: Sequence[str]) -> list[str]:
    """Return the names that a figure writes, in the order that it does."""
    places = {name: svg.find(f"<!-- {name} -->".encode()) for name in names}
    return [name for name, place in sorted(places.items(), key=lambda entry: entry[1]) if place >= 0]


def test_the_figure_has_a_bar_for_each_optimizer_labelled_with_shares_and_the_whole(view: RunView) -> None:
    plot = draw_steps(steps_table(view), "digits")
    assert plot.name == "step-parts-digits"
    assert set(bars_in(plot.svg, VARIANTS)) == set(VARIANTS)
    for text in ("10.0 ms (9.75 to 10.3)", "17 %", "49.6 MiB", "backward", "activations"):
        assert f"<!-- {text} -->".encode() in plot.svg, text
    assert draw_steps(steps_table(view), "another") is None


def test_a_runtime_that_cannot_be_cut_says_so_and_is_not_drawn(tmp_path: Path) -> None:
    reason = "this runtime takes a step as one program: its parts have no time of their own"
    unknown = [
        Measurement(f"step_{part}_{unit}", None, reason=reason) for part in PARTS for unit in ("s", "share")
    ]
    frames = frames_of(tmp_path, [Measurement("step_latency_s", 0.01), *unknown])
    (row,) = records(frames["steps"])
    assert row["forward_s"] is None and f"parts unknown: {reason}" in row["notes"]
    assert draw_steps(frames["steps"], "digits") is None


def test_a_run_of_an_older_version_has_its_steps_without_parts(tmp_path: Path) -> None:
    measurements = (Measurement("step_latency_s", 0.01), Measurement("peak_tensor_bytes", 1e6))
    frames = frames_of(tmp_path, measurements)
    (grid,) = steps_grids(frames)
    assert "forward time" not in grid.columns and "step time" in grid.columns
    assert draw_steps(frames["steps"], "digits") is None
