"""What a run prints as it goes on: a live display on a terminal, plain lines elsewhere."""

from __future__ import annotations

import io
import re

import pytest

from bench.execution.progress import Display


class Terminal(io.StringIO):
    """A stream that says it is a terminal, and what a person sees of it in the end."""

    def isatty(self) -> bool:
        return True

    def drawn(self) -> str:
        """Return all that was drawn, without the codes that move and colour."""
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", self.getvalue())


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    return Terminal()


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


def test_a_pipe_gets_a_line_at_least_each_minute_while_stages_are_timed_in_rounds(monkeypatch) -> None:
    monkeypatch.setattr("bench.execution.progress.time.monotonic", lambda: 0.0)
    stream = io.StringIO()
    with Display(2, lambda: 90.0, stream) as display:
        display.started("infer a", ", launch 1")
        assert stream.getvalue() == ""
        monkeypatch.setattr("bench.execution.progress.time.monotonic", lambda: 61.0)
        display.started("infer a", ", launch 2")
        assert stream.getvalue() == "[0/2] now infer a, launch 2  (1:01 elapsed, about 1:30 left)\n"
        display.started("infer b", ", launch 2")
    assert stream.getvalue().count("\n") == 1


def test_a_terminal_shows_what_runs_what_is_next_and_how_much_is_left(terminal: Terminal) -> None:
    with Display(12, lambda: 340.0, terminal) as display:
        display.coming(["infer b", "infer c", "infer d"])
        display.started("infer a", ", launch 3")
        drawn = terminal.drawn()
    assert "now   infer a, launch 3  0 s" in drawn
    assert "next  infer b, then 2 more" in drawn
    assert "0 of 12 stages, 0:00 elapsed, about 5:40 left" in drawn


def test_what_runs_already_is_not_next(terminal: Terminal) -> None:
    with Display(2, lambda: 0.0, terminal) as display:
        display.coming(["infer a"])
        display.started("infer a")
    assert "next" not in terminal.drawn()


def test_a_terminal_keeps_a_line_of_what_went_wrong_and_none_of_what_went_well(terminal: Terminal) -> None:
    with Display(3, lambda: 0.0, terminal) as display:
        display.ended("train a", "ok 1.0 s")
        display.ended("train b", "FAILED: no memory")
        drawn = terminal.drawn()
    assert "[2/3] train b  FAILED: no memory" in drawn and "[1/3]" not in drawn
    assert "last  train a  ok 1.0 s" in drawn
    assert "2 of 3 stages, 1 not ok" in drawn


def test_a_pipe_gets_a_line_for_each_stage() -> None:
    stream = io.StringIO()
    with Display(2, lambda: 60.0, stream) as display:
        display.started("train a")
        display.coming(["train b"])
        display.ended("train a", "ok 1.0 s")
    assert stream.getvalue() == "[1/2] train a  ok 1.0 s  (0:00 elapsed, about 1:00 left)\n"


def test_a_name_cannot_act_on_the_terminal_and_is_cut_to_its_width(terminal: Terminal) -> None:
    with Display(1, lambda: 0.0, terminal) as display:
        display.started("train \x1b[2J" + "n" * 300)
    lines = terminal.drawn().splitlines()
    assert r"train \x1b[2J" in "\n".join(lines)
    assert all(len(line.rstrip()) <= 100 for line in lines)
