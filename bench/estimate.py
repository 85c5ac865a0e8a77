"""How long stages will take: as long as their kind took before in this store, else a rough guess."""

from __future__ import annotations

from collections.abc import Iterable
from statistics import median

from bench.store import StageRow, Store

# Seconds on two cores of a server, of a small CNN: only what the very first run has to go by.
_GUESSES = {"train": 40.0, "teach": 4.0, "compress": 6.0, "lower": 8.0, "evaluate": 2.0, "step": 2.0, "infer": 1.5}
_LAUNCHES = 6
_SIDE_BY_SIDE = ("teach", "lower", "evaluate")


class Estimator:
    """Learns from the stages that end, kind by kind."""

    def __init__(self, store: Store | None, slots: int) -> None:
        self._slots = slots
        self._seconds = {kind: (store.body_seconds(kind) if store else []) for kind in _GUESSES}

    def learn(self, kind: str, body_s: float) -> None:
        self._seconds[kind].append(body_s)

    def rest_s(self, stages: Iterable[StageRow], launches: int = _LAUNCHES) -> float:
        """Return the seconds that these stages will take, a timed one in several launches."""
        total = 0.0
        for stage in stages:
            known = self._seconds[stage.kind]
            each = median(known) if known else _GUESSES[stage.kind]
            shared = self._slots if stage.kind in _SIDE_BY_SIDE else 1
            total += each * (launches if stage.timed else 1) / shared
        return total
