"""What the page draws: numbers of a run that are known, in SI units, each at its technique."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from bench.results.store import Store
from reports.content import gather
from reports.frames.view import records
from reports.page import charts as page_charts
from reports.page.charts import charts_data
from tests.support.synthetic_run import key_of

GRID = [float(step) for step in range(60, 1201, 60)]


@pytest.fixture(scope="module")
def charts(store: Store) -> dict[str, Any]:
    return charts_data(gather(store, "run-1", figures=False))


def rows(columns: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return columns as the page has them as rows, as its script does."""
    found: list[dict[str, Any]] = [{} for _ in range(columns["rows"])]
    for name, coded in columns["texts"].items():
        values = [coded["of"][at] for at in coded.get("at", range(len(coded["of"])))]
        for row, value in zip(found, values, strict=True):
            row[name] = value
    for name, values in columns["numbers"].items():
        for row, value in zip(found, values, strict=True):
            row[name] = value
    return found


def test_a_point_has_its_cost_and_quality_with_both_intervals(charts: dict[str, Any], store: Store) -> None:
    every = rows(charts["points"])
    assert charts["points"]["total"] == len(every) == 20
    place = {"optimizer": "adam", "compression": "int8-static", "backend": "onnxruntime"}
    (at,) = (n for n, row in enumerate(every) if place.items() <= row.items())
    row = every[at]
    assert row["quality"] == row["quality_low"] == row["quality_high"] == pytest.approx(0.936)
    assert row["loss"] == pytest.approx(0.4) and row["size"] == 0.9 * 2e5
    table = gather(store, "run-1", figures=False).frames["inference"]
    own = records(table[(table["cell"] == "digits/adam/int8-static@onnxruntime")])[0]
    for name in ("latency_s", "latency_low_s", "latency_high_s", "speedup"):
        short = name.removesuffix("_s").removeprefix("latency_")
        assert row[short] == pytest.approx(own[name], rel=1e-5), name
    assert row["low"] < row["latency"] < row["high"] and own["latency_s"] == pytest.approx(0.24e-3, rel=0.02)
    # 1e7 operations on 1e6 bytes.
    assert row["intensity"] == 10 and row["rate"] == pytest.approx(1e7 / own["latency_s"], rel=1e-5)
    keys = (
        f"{kind} digits/{what}@onnxruntime 1"
        for kind, what in (("infer", "int8-static"), ("evaluate", "adam/0/int8-static"))
    )
    assert charts["points"]["key"][at] == " ".join(key_of(label)[:12] for label in keys)
    fronts = charts["points"]["front"]
    assert list(fronts) == ["latency", "size", "memory"] and not charts["points"]["estimated"]
    smallest = min(row["size"] for row in every)
    assert {every[n]["size"] for n in fronts["size"]} >= {smallest}
    assert row["memory"] == 4e8 and row["energy"] is row["money"] is None
    front = {(every[n]["compression"], every[n]["backend"]) for n in fronts["latency"]}
    assert ("int8-static", "onnxruntime") in front and all(backend == "onnxruntime" for _, backend in front)


def test_a_curve_is_over_steps_seconds_and_flops(charts: dict[str, Any]) -> None:
    curves = {curve["optimizer"]: curve for curve in charts["curves"]}
    adam = curves["adam"]
    assert adam["step"] == GRID and adam["target"] == 0.9 and adam["flops"] == 3e9
    assert adam["seconds"] == pytest.approx([0.011 * step for step in GRID])
    assert adam["quality"][-1] == pytest.approx(0.95 - 0.9 * 0.5**8.4, rel=1e-5)
    assert adam["loss"] == pytest.approx([1 - quality for quality in adam["quality"]], rel=1e-4)
    assert adam["key"] == key_of("train digits/adam/0")[:12]


def test_a_long_curve_is_thinned_and_keeps_what_it_ended_with(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page_charts, "_MAX_OF_CURVE", 7)
    curve = charts_data(gather(store, "run-1", figures=False))["curves"][0]
    assert curve["step"] == [*GRID[::3], GRID[-1]] and len(curve["quality"]) == len(curve["loss"]) == 8


def test_time_to_target_is_steps_times_a_step_and_what_missed_it_shows_what_it_trained(
    charts: dict[str, Any],
) -> None:
    adam, momentum, sgd = rows(charts["target"])
    assert (adam["steps"], momentum["steps"], sgd["steps"]) == (600, 450, 1200)
    assert [row["time"] for row in (adam, momentum, sgd)] == pytest.approx([6.0, 4.5, 12.0], rel=1e-3)
    assert [row["missed"] for row in (adam, momentum, sgd)] == [0, 0, 1]


def test_the_matrix_counts_states_and_has_the_best_speedup(charts: dict[str, Any]) -> None:
    fields = {(row["compression"], row["backend"]): row for row in rows(charts["matrix"])}
    skipped = fields["int8-static", "cpu-eager"]
    assert (skipped["states"], skipped["worst"], skipped["speedup"]) == ("3 skipped", "skipped", None)
    partly = fields["int8-static", "onnxruntime"]
    assert (partly["states"], partly["worst"]) == ("2 ok, 1 INVALID", "INVALID")
    assert partly["speedup"] == pytest.approx(1 / 0.24, rel=0.05)
    assert fields["none", "cpu-eager"]["worst"] == "" and fields["none", "cpu-eager"]["speedup"] == 1


def test_parts_of_a_step_are_seconds_and_parts_of_its_memory_bytes(charts: dict[str, Any]) -> None:
    adam = {bar["part"]: bar["value"] for bar in charts["parts"] if bar["optimizer"] == "adam"}
    parts = {"data": 0.0005, "forward": 0.003, "backward": 0.004, "optimizer": 0.003}
    assert adam == pytest.approx(parts, rel=2e-3)
    memory = {bar["part"]: bar["value"] for bar in charts["memory"] if bar["optimizer"] == "adam"}
    assert memory == {"weights": 1e7, "gradients": 1e7, "optimizer state": 2e6, "activations": 3e7}


def test_classes_change_in_points_and_ceilings_are_those_measured(charts: dict[str, Any]) -> None:
    changes = {(row["compression"], row["class"]): row["change"] for row in charts["classes"]}
    # Recall of shirts falls by twice the loss of quality: 2 points of a pruning, -0.3 of training on.
    assert changes["prune-magnitude:0.5", "shirt"] == pytest.approx(-4.0)
    assert changes["finetune", "shirt"] == pytest.approx(0.6) and changes["finetune", "bag"] == 0
    assert charts["ceilings"] == [
        {"format": "fp32", "rate": 1e12, "bytes": 2e11},
        {"format": "int8", "rate": 2e12, "bytes": 2e11},
    ]
