"""Matrix files of tests: the text of the shipped one that most are made of, and writing one."""

from __future__ import annotations

from pathlib import Path

from bench.matrix.shipped import SHIPPED

QUICK = (SHIPPED / "quick.toml").read_text()


def written(folder: Path, text: str) -> str:
    """Write a matrix file, and return its path as a command takes it."""
    path = folder / "mine.toml"
    path.write_text(text)
    return str(path)
