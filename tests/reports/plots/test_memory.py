"""The figure of peak memory: a mark at each peak, in bytes."""

from __future__ import annotations

import pytest

from reports.frames.run import read_frames
from reports.frames.view import RunView
from reports.plots import memory
from tests.support.drawn import Keep, legend, marks, ticks


def test_each_step_and_each_structure_has_its_peaks(view: RunView, kept: Keep) -> None:
    figures = kept(memory)
    memory.draw_memory(read_frames(view)["memory"], "digits")
    training, inference = figures[0].axes
    assert (training.get_title(), inference.get_title()) == ("training step", "inference")
    assert ticks(training) == ["adam", "momentum", "sgd"]
    # 50 MB, and 1 MB for each state of the optimizer; the process has 600 MB.
    tensors = {("o", 5.2e7, 0), ("o", 5.1e7, 1), ("o", 5.0e7, 2)}
    assert marks(training) == tensors | {("s", 6e8, row) for row in range(3)}
    assert ticks(inference)[0] == "cpu-eager · none, finetune, prune-magnitude:0.5"
    assert marks(inference) == {
        (mark, peak, row) for row in range(3) for mark, peak in (("o", 3e6), ("s", 4e8))
    }
    assert legend(figures[0]) == [
        "peak tensor memory",
        "peak resident memory, including the runtime's own code",
    ]
    assert inference.get_xlabel() == "peak memory"


def test_of_many_the_largest_of_each_kind_are_drawn(
    view: RunView, kept: Keep, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "MAX_ROWS", 1)
    table = read_frames(view)["memory"]
    own = table.assign(peak_rss_bytes=table["peak_rss_bytes"].mask(table["optimizer"] == "sgd", 7e8))
    figures = kept(memory)
    plot = memory.draw_memory(own, "digits")
    assert plot is not None and plot.caption.endswith(" The 2 largest of 6 peaks are shown.")
    assert ticks(figures[0].axes[0]) == ["sgd"]
