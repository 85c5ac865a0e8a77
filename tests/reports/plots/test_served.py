"""The figures of what is served: what they draw of a run whose numbers are known."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from reports.frames.pareto import ranked_points
from reports.frames.roofline import Roof, roofs
from reports.frames.view import RunView
from reports.plots import fronts, latency, matrix, operators, roofline
from reports.plots.draw import _spread
from reports.plots.figure import Plot, fewer
from reports.plots.served import place, quickest, served_name
from tests.reports.plots.conftest import OPERATORS, SAMPLES
from tests.support.drawn import legend, lines_at, texts, ticks

Frames = Mapping[str, pd.DataFrame]
AT = ("digits", 1)


def test_each_structure_stands_once_and_the_quickest_first(served_frames: Frames) -> None:
    rows = place(served_frames["inference"], *AT)
    found = quickest(rows, 100)
    assert len({row["infer_key"] for row in found}) == len(found) < len(rows)
    latencies = [row["latency_s"] for row in found]
    assert latencies == sorted(latencies) and quickest(rows, 2) == found[:2]
    assert served_name(found[0], rows) == "int8-static @ onnxruntime"


def test_the_matrix_shows_latencies_and_the_reason_of_each_gap(served_frames: Frames) -> None:
    inference = served_frames["inference"]
    broken = (inference["compression"] == "finetune") & (inference["seed"] == 0)
    table = inference.assign(
        state=inference["state"].mask(broken, "oom"), ranked=inference["ranked"].mask(broken, False)
    )
    fields = matrix._fields(place(table, *AT))
    assert fields["int8-static", "cpu-eager"].text == "skipped"
    assert fields["finetune", "cpu-eager"].text.endswith("oom 3/6")
    own = table[(table["compression"] == "none") & (table["backend"] == "onnxruntime")]
    assert fields["none", "onnxruntime"].latency_s == own["latency_s"].median()
    figure = matrix._figure(fields, ["none", "int8-static"], ["cpu-eager", "onnxruntime"])
    axes, bar = figure.axes
    assert ticks(axes) == ["none", "int8-static"] and "skipped" in texts(axes)
    assert [text.get_text() for text in axes.get_xticklabels()] == ["cpu-eager", "onnxruntime"]
    (image,) = axes.images
    shown = np.asarray(image.get_array().filled(np.nan))
    assert shown[0, 1] == fields["none", "onnxruntime"].latency_s and np.isnan(shown[1, 0])
    assert bar.get_ylabel() == "latency"


def test_a_matrix_of_one_latency_is_drawn(served_frames: Frames) -> None:
    own = served_frames["inference"].iloc[:1].assign(ranked=True, latency_s=1e-3)
    drawn = matrix.draw_matrix(own, *AT)
    assert drawn is not None and b"1.00 ms" in drawn.svg


def test_fronts_join_the_points_that_nothing_beats(served_frames: Frames) -> None:
    inference = served_frames["inference"]
    points = ranked_points(inference, "latency_s")
    figure = fronts._figure({"latency_s": points}, "")
    axes = figure.axes[0]
    front = sorted((p["latency_s"], p["quality"]) for p in points if p["pareto"])
    lowest = max(p["quality"] for p in points) - 0.10
    rest = (p for p in points if not p["pareto"] and p["quality"] >= lowest)
    others = [(p["latency_s"], p["quality"]) for p in rest]
    drawn = [list(zip(*line.get_data(), strict=True)) for line in axes.get_lines()]
    assert front in drawn and others in drawn
    best = max((p for p in points if p["pareto"]), key=lambda p: p["quality"])
    assert f"{best['compression']} @ {best['backend']}" in texts(axes)
    assert axes.get_title() == "latency"
    ranges = [c.get_segments()[0] for c in axes.collections if np.ptp(c.get_segments()[0][:, 1])]
    assert any(segment[:, 1].tolist() == [best["quality_low"], best["quality_high"]] for segment in ranges)


def test_fronts_have_a_panel_for_each_cost_that_differs(served_frames: Frames) -> None:
    inference = served_frames["inference"]
    cost = inference["latency_s"] * 3
    found = fronts.draw_fronts(inference.assign(money_per_million=cost), *AT, currency="EUR")
    assert found is not None and b"cost of a million samples (EUR)" in found.svg
    assert b"compressed size" in found.svg and b"peak resident memory" not in found.svg
    assert fronts.draw_fronts(inference.assign(ranked=False), *AT) is None


def test_a_front_of_many_points_draws_a_bounded_number_of_the_others() -> None:
    base = {"seeds": 1, "compression": "none", "backend": "cpu-eager", "latency_low_s": None}
    many = [base | {"latency_s": 1.0 + n, "quality": 0.5, "pareto": False} for n in range(5000)]
    many.append(base | {"latency_s": 0.5, "quality": 0.55, "pareto": True})
    axes = fronts._figure({"latency_s": many}, "").axes[0]
    assert max(len(line.get_xdata()) for line in axes.get_lines()) <= fronts.MAX_POINTS


def test_the_roofline_has_each_ceiling_and_each_point_below_it(
    served: RunView, served_frames: Frames
) -> None:
    roof = roofs(served)[""]
    assert roof == Roof({"fp32": 1e12, "int8": 2e12}, 2e11)
    rows = quickest(place(served_frames["inference"], *AT), 100)
    axes = roofline._figure(rows, roof).axes[0]
    ceilings = [line.get_ydata() for line in axes.get_lines() if len(line.get_xdata()) == 200]
    assert sorted(max(heights) for heights in ceilings) == [1e12, 2e12]
    across = next(line.get_xdata() for line in axes.get_lines() if len(line.get_xdata()) == 200)
    assert min(ceilings[0]) == pytest.approx(2e11 * min(across))
    points = {(float(x), float(y)) for x, y in (
        (line.get_xdata()[0], line.get_ydata()[0]) for line in axes.get_lines() if len(line.get_xdata()) == 1
    )}  # fmt: skip
    assert points == {(row["operations_per_byte"], row["achieved_operations_per_s"]) for row in rows}
    assert {"fp32 1.00 Top/s", "int8 2.00 Top/s", "memory 186 GiB/s"} <= set(texts(axes))
    assert roofline.draw_roofline(served_frames["inference"], *AT, Roof({}, None)) is None


def test_latencies_are_drawn_with_the_percentiles_that_the_calls_support(
    served: RunView, served_frames: Frames
) -> None:
    inference = served_frames["inference"]
    (row,) = [
        r for r in quickest(place(inference, *AT), 100) if served.timing_samples(r["infer_key"], "latency_s")
    ]
    launches = served.timing_samples(row["infer_key"], "latency_s")
    assert [len(launch) for launch in launches] == [len(SAMPLES)] * 3
    figure = latency._figure([(row, launches)], place(inference, *AT))
    axes = figure.axes[0]
    least, first, third, most = np.quantile(SAMPLES, (0.01, 0.25, 0.75, 0.99))
    spans = list(lines_at(axes, 0))
    assert any(np.allclose(span, (least, most), rtol=1e-2) for span in spans)
    assert any(np.allclose(span, (first, third), rtol=1e-2) for span in spans)
    assert texts(axes) == ["p50 1.25 ms  p90 1.45 ms  p99 1.49 ms"]
    assert legend(figure) == ["median", "90th percentile", "99th percentile"]
    few = latency._figure([(row, [launches[0][:30]])], place(inference, *AT))
    assert legend(few) == ["median"]


def test_operators_are_stacked_by_what_they_do(served: RunView, served_frames: Frames) -> None:
    inference = served_frames["inference"]
    rows = place(inference, *AT)
    found = [(row, operators._by_kind(served, row["infer_key"])) for row in quickest(rows, 100)]
    ((row, kinds),) = [(row, kinds) for row, kinds in found if kinds]
    assert kinds == {"full": OPERATORS["aten::addmm"], "other": OPERATORS["aten::relu"]}
    figure = operators._figure([(row, kinds)], rows)
    bars = [(patch.get_x(), patch.get_width()) for patch in figure.axes[0].patches]
    assert bars == [(0.0, 6e-4), (6e-4, pytest.approx(3e-4))]
    assert {"67 %", "33 %", "1.25 ms"} <= set(texts(figure.axes[0]))
    assert legend(figure) == ["products in floats", "other operators"]


@pytest.mark.parametrize("draw", [latency.draw_latency, operators.draw_operators])
def test_a_figure_has_the_same_bytes_each_time(
    served: RunView, served_frames: Frames, draw: Callable[..., Plot]
) -> None:
    first, again = (draw(served, served_frames["inference"], *AT) for _ in range(2))
    assert (first.png, first.svg) == (again.png, again.svg) and first.png.startswith(b"\x89PNG")


def test_a_report_has_the_figures_of_what_is_served(report: Path) -> None:
    names = {path.stem for path in report.joinpath("plots").iterdir()}
    assert {f"{kind}-digits-batch-1" for kind in ("pareto-fronts", "matrix", "roofline")} <= names


def test_a_caption_says_what_is_left_out() -> None:
    assert fewer(24, 1030, "choices") == " The 24 quickest of 1,030 choices are shown."
    assert fewer(3, 3, "choices") == fewer(0, 0) == ""


def test_of_many_batch_sizes_three_are_drawn() -> None:
    assert _spread([4, 1, 2, 8, 16]) == [1, 4, 16] and _spread([2, 1]) == [2, 1]
