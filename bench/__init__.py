"""Runs the matrix and measures it."""

from typing import Any

__all__ = ["measure"]


def __getattr__(name: str) -> Any:
    """Import what Python users call only once they do: the command line starts without torch."""
    if name == "measure":
        from bench.measuring import measure

        return measure
    raise AttributeError(f"module 'bench' has no attribute {name!r}")
