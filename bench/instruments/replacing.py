"""Attributes of other people's classes, replaced while a block runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def replaced(owner: Any, name: str, by: Any) -> Iterator[None]:
    """Have an attribute of a class be another in the block."""
    inherited, original = name not in vars(owner), getattr(owner, name)
    setattr(owner, name, by)
    try:
        yield
    finally:
        if inherited:
            delattr(owner, name)
        else:
            setattr(owner, name, original)
