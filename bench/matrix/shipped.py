"""The matrix files that come with the suite."""

from __future__ import annotations

from pathlib import Path

SHIPPED = Path(__file__).parents[1] / "matrices"


def shipped_matrices() -> dict[str, Path]:
    """Return the shipped matrix files by their names."""
    return {file.stem: file for file in sorted(SHIPPED.glob("*.toml"))}
