"""What the tests of whole runs share: the command line as a user calls it, and what a store then holds."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Bench = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="session")
def bench() -> Bench:
    """Run `python -m bench` with the arguments; output is captured, nothing is raised."""

    def call(*arguments: object) -> subprocess.CompletedProcess[str]:
        words = [sys.executable, "-m", "bench", *map(str, arguments)]
        return subprocess.run(words, capture_output=True, text=True, timeout=560, check=False)

    return call


@pytest.fixture(scope="session")
def plugins() -> Path:
    """Return the folder of the tests' plug-in files."""
    return Path(__file__).parent / "plugins"
