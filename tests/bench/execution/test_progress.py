"""What a run prints as it goes on."""

from __future__ import annotations

import io

from bench.execution.progress import Display


def test_disturbed_launches_of_a_round_are_one_line_that_counts_them() -> None:
    stream = io.StringIO()
    with Display(2, lambda: 0.0, stream) as display:
        for stage in ("infer a", "infer a", "infer b"):
            display.started(stage)
            display.repeated(stage, "ready tasks waited for a CPU")
        assert stream.getvalue() == ""
        display.round_ended()
        assert (
            stream.getvalue() == "3 disturbed launches of 2 stages repeated (-v or run.log has the reasons)\n"
        )


def test_a_round_without_disturbed_launches_prints_nothing_of_them() -> None:
    stream = io.StringIO()
    with Display(1, lambda: 0.0, stream) as display:
        display.repeated("infer a", "pressure")
        display.round_ended()
        before = stream.getvalue()
        display.round_ended()
    assert (
        before
        == stream.getvalue()
        == "1 disturbed launch of 1 stage repeated (-v or run.log has the reasons)\n"
    )
