"""Futures that are done already, for what stands in for processes."""

from __future__ import annotations

from concurrent.futures import Future
from typing import TypeVar

ValueT = TypeVar("ValueT")


def done(value: ValueT) -> Future[ValueT]:
    """Return a future that has this result."""
    future: Future[ValueT] = Future()
    future.set_result(value)
    return future
