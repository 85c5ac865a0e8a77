"""Runs a file of tests in a process of its own: what ends that process fails one test and no others."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

LONGEST_S = 500.0


def passes(file: Path) -> None:
    """Assert that the tests in a file pass."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", str(file)],
        capture_output=True,
        text=True,
        check=False,
        timeout=LONGEST_S,
    )
    assert done.returncode == 0, f"exit {done.returncode}\n{done.stdout[-4000:]}\n{done.stderr[-1000:]}"
