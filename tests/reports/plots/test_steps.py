"""The figure of training steps: bars as long as the parts, in seconds and in bytes."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from matplotlib.axes import Axes

from reports.frames.run import read_frames
from reports.frames.view import RunView, records
from reports.plots import steps
from tests.support.drawn import Keep, lines, texts, ticks


def bars(axes: Axes, row: int) -> list[tuple[float, float]]:
    """Return where each segment of a row's bar begins, and how long it is."""
    return [(bar.get_x(), bar.get_width()) for bar in axes.patches if round(bar.get_y() + 0.36) == row]


def stacked(values: Iterable[float]) -> list[tuple[float, float]]:
    found, end = [], 0.0
    for value in values:
        found.append((pytest.approx(end, rel=2e-3), pytest.approx(value, rel=2e-3)))
        end += value
    return found


def test_bars_are_the_parts_of_time_and_of_memory(view: RunView, kept: Keep) -> None:
    frames, figures = read_frames(view), kept(steps)
    steps.draw_steps(frames["steps"], "digits")
    time, memory = figures[0].axes
    assert ticks(time) == ["adam", "momentum", "sgd"] and time.get_xlabel() == "time of a step"
    # Data, forward, backward, and an optimizer that takes 1 ms for the weights and for each state.
    assert bars(time, 0) == stacked((0.0005, 0.003, 0.004, 0.003))
    assert bars(time, 2) == stacked((0.0005, 0.003, 0.004, 0.001))
    # Weights, gradients, the optimizer's state, activations.
    assert bars(memory, 0) == stacked((1e7, 1e7, 2e6, 3e7))
    assert bars(memory, 1) == stacked((1e7, 1e7, 1e6, 3e7))
    assert {"29 %", "38 %"} <= set(texts(time)) and "49.6 MiB" in texts(memory)


def test_the_mark_is_the_step_without_marks_in_it_with_its_interval(view: RunView, kept: Keep) -> None:
    frames, figures = read_frames(view), kept(steps)
    steps.draw_steps(frames["steps"], "digits")
    row = records(frames["steps"])[0]
    own = [line.get_xdata() for line in figures[0].axes[0].get_lines() if len(line.get_xdata()) == 2]
    assert any(list(ends) == [row["step_latency_s"]] * 2 for ends in own)
    interval = [row["step_latency_low_s"], row["step_latency_high_s"]]
    assert any(list(ends) == interval for ends in own) and interval[0] < 0.01 < interval[1]
    assert row["step_latency_s"] == pytest.approx(0.01, rel=1e-3)
    assert lines(figures[0].axes[1], 2) == {}


def test_of_many_steps_the_quickest_are_drawn(
    view: RunView, kept: Keep, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(steps, "MAX_ROWS", 1)
    table = read_frames(view)["steps"]
    slow = table.assign(step_latency_s=table["step_latency_s"].where(table["optimizer"] == "sgd", 0.02))
    figures = kept(steps)
    plot = steps.draw_steps(slow, "digits")
    assert plot is not None and plot.caption.endswith(" The 1 quickest of 3 steps are shown.")
    assert ticks(figures[0].axes[0]) == ["sgd"]
