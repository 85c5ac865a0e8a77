"""Python's search for garbage in cycles, on or off for a while."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def collector(*, on: bool) -> Iterator[None]:
    """Switch the search on or off for a block, whatever it was before; then it is as before."""
    before = gc.isenabled()
    (gc.enable if on else gc.disable)()
    try:
        yield
    finally:
        (gc.enable if before else gc.disable)()
