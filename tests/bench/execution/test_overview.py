"""What a dry run says fits a screen, whatever the matrix and whatever is installed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bench.matrix.shipped import shipped_matrices
from bench.workloads import WORKLOADS
from techniques.backends import BACKENDS
from techniques.compression import COMPRESSIONS
from techniques.optimizers import OPTIMIZERS

_SCREEN = 50
_LONG = ("compression", "full", "generation")
"""Matrices that are planned for more than a second."""

NAMES = [pytest.param(name, marks=pytest.mark.slow if name in _LONG else ()) for name in shipped_matrices()]


@pytest.fixture
def base(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make this a machine with the base installation alone."""
    registries: list[Any] = [WORKLOADS, BACKENDS, COMPRESSIONS, OPTIMIZERS]
    for registry in registries:
        rows = {
            name: replace(row, needs=(*row.needs, "a_module_nobody_has"), check=None)
            if "dl-efficiency-bench[" in row.install
            else row
            for name, row in registry.rows().items()
        }
        monkeypatch.setattr(registry, "_rows", rows)


@pytest.mark.parametrize("name", NAMES)
def test_a_dry_run_fits_a_screen(name: str, command: Any, tmp_path: Path) -> None:
    done = command("run", "--matrix", name, "--dry-run", "--results", tmp_path / "none")
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) <= _SCREEN


@pytest.mark.usefixtures("base")
@pytest.mark.parametrize("name", NAMES)
def test_a_dry_run_fits_a_screen_with_the_base_installation_too(
    name: str, command: Any, tmp_path: Path
) -> None:
    done = command("run", "--matrix", name, "--dry-run", "--results", tmp_path / "none")
    if done.returncode:  # nothing of it runs here
        assert len(done.stderr.splitlines()) == 1
        return
    assert len(done.stdout.splitlines()) <= _SCREEN


@pytest.mark.usefixtures("base")
def test_what_auto_leaves_out_has_a_line_with_the_command_and_its_cells(command: Any, tmp_path: Path) -> None:
    done = command("run", "--matrix", "standard", "--dry-run", "--results", tmp_path / "none")
    lines = [line for line in done.stdout.splitlines() if "would add" in line]
    assert any("[runtimes]" in line and "[workloads]" not in line for line in lines)
    assert any("[workloads]" in line and "[runtimes]" not in line for line in lines)
