"""How a command ends: by its exit code, and never by a traceback."""

from __future__ import annotations

import sys

import pytest

from bench.__main__ import main
from bench.commands import list as list_command


def test_ctrl_c_ends_any_command_without_a_traceback(monkeypatch, capsys) -> None:
    def interrupted() -> list[list[str]]:
        raise KeyboardInterrupt

    monkeypatch.setitem(list_command.TABLES, "optimizers", interrupted)
    monkeypatch.setattr(sys, "argv", ["bench", "list", "optimizers"])
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 130
    assert "Traceback" not in capsys.readouterr().err


def test_an_error_of_the_program_is_no_regression(monkeypatch, capsys) -> None:
    """1 would be one, and 2 bad use: whoever reads exit codes must not take it for either."""

    def broken() -> list[list[str]]:
        raise ZeroDivisionError("somewhere")

    monkeypatch.setitem(list_command.TABLES, "optimizers", broken)
    monkeypatch.setattr(sys, "argv", ["bench", "list", "optimizers"])
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 70
    assert "ZeroDivisionError: somewhere" in capsys.readouterr().err
