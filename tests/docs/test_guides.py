"""What the guides add to the tables runs, and is held against what is there."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bench import commands
from bench.cli import make_app
from tests.support.pages import PAGES_FOLDER, blocks

MATRIX = """
[train]
workload = "squares"
optimizer = "signum:lr=0.01"
[infer]
compression = ["none", "round-weights:3"]
backend = ["cpu-eager", "torchscript"]
[[exclude]]
compression = "none"
backend = "torchscript"
[[exclude]]
compression = "round-*"
backend = "cpu-eager"
"""


def file_of(page: str, folder: Path) -> Path:
    """Write the Python file that a guide shows, and return its path."""
    text = (PAGES_FOLDER / "guides" / page).read_text()
    block = next(block for block in blocks(text) if block.language == "python")
    path = folder / block.title
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(block.text)
    return path


@pytest.mark.slow
def test_what_the_guides_add_runs_together_and_is_in_the_report(bench, tmp_path):
    (tmp_path / "mine.toml").write_text(MATRIX)
    pages = ("optimizer.md", "compression.md", "backend.md", "metric.md", "format.md", "stage.md")
    words = [word for page in pages for word in ("--plugin", file_of(page, tmp_path))]
    results = tmp_path / "results"
    done = bench("run", "--matrix", tmp_path / "mine.toml", *words, "--smoke", "--results", results)
    assert done.returncode == 0, done.stderr
    (folder,) = (path.parent for path in results.glob("*/report.md"))
    report = (folder / "report.md").read_text()
    assert "2 cells: 2 ok" in report
    assert all(name in report for name in ("signum", "round-weights", "torchscript", "squares"))
    assert "dice" in (folder / "tables" / "inference.csv").read_text().splitlines()[0]
    assert "torchscript" in (folder / "latency.txt").read_text()
    shown = bench("show", "squares/signum:lr=0.01/none@cpu-eager", "--results", results)
    assert re.search(r"layers: \d+", shown.stdout), shown.stdout + shown.stderr
    rows = [line for line in report.splitlines() if "/round-weights:3@torchscript" in line]
    assert rows and re.search(r"\| \d[\d.]*× \|", rows[0])  # its speed over eager PyTorch


def test_the_guide_s_backend_takes_thirty_lines(tmp_path):
    assert len(file_of("backend.md", tmp_path).read_text().splitlines()) <= 30


def test_the_guide_s_command_is_one_file_that_the_command_line_finds(tmp_path, monkeypatch):
    folder = tmp_path / "commands"
    folder.mkdir()
    shutil.move(file_of("command.md", tmp_path), folder / "count.py")
    monkeypatch.setattr(commands, "__path__", [*commands.__path__, str(folder)])
    monkeypatch.delitem(sys.modules, "bench.commands.count", raising=False)
    monkeypatch.setattr(commands, "count", None, raising=False)
    app = make_app()
    assert "cells" in CliRunner().invoke(app, ["count", "quick"]).output
    assert "Say how many cells a matrix has." in CliRunner().invoke(app, ["--help"]).output
    sys.modules.pop("bench.commands.count")
