"""The figures of training: what they draw of trainings whose numbers are known."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from reports.frames.run import read_frames
from reports.frames.view import RunView, read, records
from reports.plots import training
from tests.support.drawn import Keep, legend, lines, marks, ticks
from tests.support.synthetic_run import Synthetic, build

GRID = [float(step) for step in range(60, 1201, 60)]
STEP_FLOPS = 3e9
"""Forward 1e9, backward 2e9, optimizer 0."""


def adams(folder: Path, **made_up: object) -> RunView:
    store = build(folder, Synthetic(optimizers=("adam",), **made_up))  # type: ignore[arg-type]
    view = read(store, "run-1")
    store.close()
    return view


def test_quality_is_drawn_over_steps_seconds_and_flops(view: RunView, kept: Keep) -> None:
    frames, figures = read_frames(view), kept(training)
    plot = training.draw_curves(frames["curves"], frames["training"], "digits")
    assert plot is not None and "FLOPs are of forward, backward and optimizer" in plot.caption
    (figure,) = figures
    assert [axes.get_xlabel() for axes in figure.axes] == ["step", "training time", "FLOPs"]
    assert figure.axes[0].get_ylabel() == "accuracy in validation"
    drawn = [list(lines(axes, len(GRID)).values()) for axes in figure.axes]
    curves = frames["curves"].groupby("optimizer", sort=False)
    for place, (optimizer, own) in enumerate(curves):
        quality, seconds = own["quality"].tolist(), own["seconds"].tolist()
        for panel, across in enumerate((GRID, seconds, [STEP_FLOPS * step for step in GRID])):
            assert np.allclose(drawn[panel][place], list(zip(across, quality, strict=True))), optimizer
    assert legend(figure) == ["adam", "momentum", "sgd"]


def test_a_dot_marks_where_the_target_first_held(view: RunView, kept: Keep) -> None:
    frames, figures = read_frames(view), kept(training)
    training.draw_curves(frames["curves"], frames["training"], "digits")
    (figure,) = figures
    reached = [{x for marker, x, _ in marks(axes) if marker == "o"} for axes in figure.axes]
    # Adam after 600 steps of 11 ms, momentum after 450, between two evaluations; SGD never.
    assert reached[0] == {600.0, 450.0}
    assert 6.6 in {round(x, 6) for x in reached[1]} and STEP_FLOPS * 600 in reached[2]
    assert all(any(line.get_ydata()[0] == 0.9 for line in axes.get_lines()) for axes in figure.axes)


def test_what_is_computed_again_is_no_part_of_the_flops(tmp_path: Path, kept: Keep) -> None:
    frames, figures = read_frames(adams(tmp_path, recomputed_flops=1e9)), kept(training)
    training.draw_curves(frames["curves"], frames["training"], "digits")
    (row,) = records(frames["training"])
    assert row["flops_to_target"] == STEP_FLOPS * 600
    axes = figures[0].axes[2]
    (curve,) = lines(axes, len(GRID)).values()
    assert [x for x, _ in curve] == [STEP_FLOPS * step for step in GRID]
    assert {x for _, x, _ in marks(axes)} == {STEP_FLOPS * 600}


def test_without_a_whole_count_there_is_no_panel_of_flops(tmp_path: Path, kept: Keep) -> None:
    frames = read_frames(adams(tmp_path, incomplete={"digits/adam": "no formula for aten::x"}))
    figures = kept(training)
    plot = training.draw_curves(frames["curves"], frames["training"], "digits")
    assert plot is not None and "FLOPs" not in plot.caption and len(figures[0].axes) == 2


def test_each_seed_has_its_steps_and_both_its_times_and_what_missed_is_hollow(
    view: RunView, kept: Keep
) -> None:
    frames, figures = read_frames(view), kept(training)
    training.draw_to_target(frames["training"], "digits")
    left, right = figures[0].axes
    assert ticks(left) == ["momentum", "adam", "sgd"]
    assert marks(left) == {("o", 450.0, 0), ("o", 600.0, 1), (">", 1200.0, 2)}
    clocked, by_steps = ({(m, round(x, 3), y) for m, x, y in marks(right) if m == own} for own in "oD")
    # Adam's clock says 10 % more than steps × the mean of the logarithms of 9.9, 10.0 and 10.1 ms.
    assert clocked == {("o", 4.5, -0.12), ("o", 6.6, 0.88)}
    assert by_steps == {("D", 4.5, 0.12), ("D", 6.0, 1.12)}
    assert [x for marker, x, _ in marks(right) if marker == ">"] == [12.0]


def test_of_many_optimizers_the_quickest_are_drawn(view: RunView) -> None:
    rows = records(read_frames(view)["training"])
    shown, left_out = training._quickest(rows, 1)
    assert [row["optimizer"] for row in shown] == ["momentum"]
    assert left_out == " The 1 quickest to the target, in steps, of 3 optimizers are shown."
    assert training._quickest(rows, 3) == (rows, "")
