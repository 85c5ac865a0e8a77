"""Runs a file of tests in a process of its own: what ends that process fails one test and no others."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

LONGEST_S = 500.0


def passes(file: Path, variables: Mapping[str, str] | None = None) -> None:
    """Assert that the tests in a file pass, with these environment variables beside the others."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", str(file)],
        capture_output=True,
        text=True,
        check=False,
        timeout=LONGEST_S,
        env={**os.environ, **(variables or {})},
    )
    assert done.returncode == 0, f"exit {done.returncode}\n{done.stdout[-4000:]}\n{done.stderr[-1000:]}"
