"""Runs the matrix and measures it."""

from typing import Any

__all__ = ["__version__", "load", "measure"]

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """Import what Python users call only once they do: the command line starts without torch."""
    if name == "measure":
        from bench.api import measure

        return measure
    if name == "load":
        from reports.frames.loading import load

        return load
    raise AttributeError(f"module 'bench' has no attribute {name!r}")
