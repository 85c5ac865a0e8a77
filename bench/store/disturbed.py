"""What disturbed a run's launches: by their own signs, or because the machine was slower than at its best."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import sqlalchemy as sa

from bench.store import schema

SLOWER = 1.12
"""A launch is disturbed beside which the reference product took this much longer than at the run's best."""

_BEST = 0.1
"""The best is the quantile below which a tenth of the launches lie: a cool chip's first are faster still."""


def disturbances(connection: sa.Connection, run_id: str, without: Collection[int] = ()) -> dict[int, str]:
    """Return for each good launch of a run, by its id, what disturbed it; an empty text where nothing did.

    Launches `without` which it is judged are those that cannot be read.

    Judged anew each time: a later launch may show that an earlier one had a slow machine.
    """
    launches = schema.launches.c
    query = sa.select(launches.id, launches.dynamic).where(
        launches.run_id == run_id, launches.state == "ok", launches.id.not_in(without)
    )
    found: dict[int, dict[str, Any]] = {row.id: row.dynamic for row in connection.execute(query)}
    known = [dynamic["reference_s"] for dynamic in found.values() if dynamic.get("reference_s") is not None]
    best_s = best_reference_s(known) if known else None
    return {
        id_: dynamic.get("disturbed") or _slowed(dynamic.get("reference_s"), best_s)
        for id_, dynamic in found.items()
    }


def best_reference_s(known_s: Sequence[float]) -> float:
    """Return the reference product's seconds of the machine at its best, from those beside launches."""
    return sorted(known_s)[int(_BEST * (len(known_s) - 1))]


def _slowed(reference_s: float | None, best_s: float | None) -> str:
    if reference_s is None or best_s is None or reference_s <= SLOWER * best_s:
        return ""
    return f"the machine was {100 * (reference_s / best_s - 1):.0f} % slower than at its best in this run"
