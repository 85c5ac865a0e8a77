"""What the pages are made from: the store, opened for each request, and runs that were read before."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import RLock
from typing import TypeVar

from bench.results.store import Store
from reports.frames.view import RunView, read

Made = TypeVar("Made")

_KEPT_RUNS = 4
"""Runs that stay in memory once read; one of 100,000 records takes some hundred MB."""

_PAUSE = 5.0
"""A run still going on is read again after this many times as long as reading it took."""


@dataclass
class _Kept:
    state: str
    read_at_s: float
    took_s: float
    view: RunView
    made: dict[str, object] = field(default_factory=dict)


class Site:
    """A store as the pages see it, for several threads. `token` opens them."""

    def __init__(self, results: Path, store_url: str, token: str) -> None:
        self.results = results
        self.store_url = store_url
        self.token = token
        self._kept: OrderedDict[str, _Kept] = OrderedDict()
        self._lock = RLock()

    @contextmanager
    def store(self) -> Iterator[Store]:
        """Open the store for one request: a run may be writing to it."""
        store = Store.open(self.results, self.store_url, create=False)
        try:
            yield store
        finally:
            store.close()

    def made(self, store: Store, run_id: str, what: str, make: Callable[[RunView], Made]) -> Made:
        """Return what `make` makes of a run as reports see it, made once until the run is read again.

        A run that is going on may be some seconds old.
        """
        with self._lock:
            kept = self._read(store, run_id)
            if what not in kept.made:
                kept.made[what] = make(kept.view)
            return kept.made[what]  # type: ignore[return-value]

    def _read(self, store: Store, run_id: str) -> _Kept:
        state = str(store.run(run_id)["state"])
        kept = self._kept.get(run_id)
        if kept is None or kept.state != state or (state == "running" and self._is_old(kept)):
            began = time.monotonic()
            view = read(store, run_id)
            kept = _Kept(state, time.monotonic(), time.monotonic() - began, view)
        self._kept[run_id] = kept
        self._kept.move_to_end(run_id)
        while len(self._kept) > _KEPT_RUNS:
            self._kept.popitem(last=False)
        return kept

    def _is_old(self, kept: _Kept) -> bool:
        return time.monotonic() - kept.read_at_s > max(1.0, _PAUSE * kept.took_s)
