"""`bench run` passes its options on to the run."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from bench.cli import app
from bench.commands import run
from bench.execution.options import RunOptions


@pytest.mark.parametrize("option", ["--rebuild", "--anew"])
def test_rebuild_and_its_earlier_name_mean_the_same(option: str, monkeypatch: pytest.MonkeyPatch) -> None:
    requested: list[RunOptions] = []

    def remember(options: RunOptions) -> bool:
        requested.append(options)
        return True

    monkeypatch.setattr(run, "run_matrix", remember)
    assert CliRunner().invoke(app, ["run", "--matrix", "quick", option]).exit_code == 0
    assert requested == [RunOptions("quick", Path("results"), rebuild=True)]
    assert "--rebuild" in requested[0].command and "--anew" not in requested[0].command


def test_the_earlier_name_of_rebuild_is_not_in_the_help() -> None:
    text = CliRunner().invoke(app, ["run", "--help"]).output
    assert "--rebuild" in text and "--anew" not in text
