"""The kernel's files below /proc and /sys: read where they are there and may be read, else None."""

from __future__ import annotations

from pathlib import Path


def read_text(path: str | Path) -> str | None:
    """Return a file's text without the white space around it, or None where it cannot be read."""
    try:
        return Path(path).read_text().strip()
    except OSError:
        return None


def read_number(path: str | Path) -> float | None:
    """Return the number that a file holds; None where it cannot be read or is none, as `max` is."""
    text = read_text(path)
    return float(text) if text and text.isdigit() else None
