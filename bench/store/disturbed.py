"""What disturbed a run's launches: by their own signs, or because the machine was slower than at its best."""

from __future__ import annotations

import sqlalchemy as sa

from bench.store import schema

SLOWER = 1.12
"""A launch is disturbed beside which the reference product took this much longer than beside the best one."""


def disturbances(connection: sa.Connection, run_id: str) -> dict[int, str]:
    """Return for each good launch of a run, by its id, what disturbed it; an empty text where nothing did.

    Judged anew each time: a later launch may show that an earlier one had a slow machine.
    """
    launches = schema.launches.c
    query = sa.select(
        launches.id,
        sa.func.coalesce(launches.dynamic["disturbed"].as_string(), "").label("told"),
        launches.dynamic["reference_s"].as_float().label("reference_s"),
        sa.func.coalesce(launches.dynamic["device"].as_string(), "").label("device"),
    ).where(launches.run_id == run_id, launches.state == "ok")
    rows = connection.execute(query).all()
    best: dict[str, float] = {}
    for row in rows:
        if row.reference_s is not None:
            best[row.device] = min(row.reference_s, best.get(row.device, row.reference_s))
    return {row.id: row.told or _slowed(row.reference_s, best.get(row.device)) for row in rows}


def _slowed(reference_s: float | None, best_s: float | None) -> str:
    if reference_s is None or best_s is None or reference_s <= SLOWER * best_s:
        return ""
    return f"the machine was {100 * (reference_s / best_s - 1):.0f} % slower than at its best in this run"
