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
