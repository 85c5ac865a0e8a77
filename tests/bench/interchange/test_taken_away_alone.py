"""What was taken away is run where no module of this suite can be imported, installed or not."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.errors import BenchError
from bench.interchange.taken_away import SCRIPT, _run_apart

ROOT = Path(__file__).parents[3]


def test_a_script_that_needs_the_suite_does_not_run_alone_where_the_suite_is_installed(
    tmp_path: Path,
) -> None:
    installed = f"import sys\nsys.path.insert(0, {str(ROOT)!r})\n"
    for module in ("techniques.registry", "bench.errors", "reports"):
        (tmp_path / SCRIPT).write_text(f"{installed}import {module}\nprint('largest difference: 0.0')\n")
        with pytest.raises(
            BenchError, match=f"does not run alone: ModuleNotFoundError: .*{module.split('.')[0]}"
        ):
            _run_apart(tmp_path, 0.1)


def test_a_script_that_needs_nothing_of_it_says_how_far_its_outputs_are(tmp_path: Path) -> None:
    lines = ("from pathlib import Path", "assert Path(__file__).name == 'run.py'")
    (tmp_path / SCRIPT).write_text("\n".join([*lines, "print('largest difference:', 0.05)", ""]))
    assert _run_apart(tmp_path, 0.1) == 0.05
    with pytest.raises(BenchError, match=r"differ by up to 0.05, the tolerance is 0.01"):
        _run_apart(tmp_path, 0.01)
