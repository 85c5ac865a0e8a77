"""Reads what is known of the surroundings of a run's launches, and which of them were disturbed."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import sqlalchemy as sa

from bench.analysis.comparable import machine_name
from bench.analysis.disturbed import what_disturbed
from bench.results.store import schema


def disturbances(connection: sa.Connection, run_id: str, without: Collection[int] = ()) -> dict[int, str]:
    """Return for each good launch of a run, by its id, what disturbed it; an empty text where nothing did.

    Launches `without` which it is judged are those that cannot be read.
    """
    launches = schema.launches.c
    query = sa.select(launches.id, launches.dynamic, launches.environment_id).where(
        launches.run_id == run_id, launches.state == "ok", launches.id.not_in(without)
    )
    found = connection.execute(query).all()
    machines = _machines(connection, {row.environment_id for row in found})
    groups: dict[str, dict[int, Any]] = {}
    for row in found:
        groups.setdefault(machines.get(row.environment_id, ""), {})[row.id] = row.dynamic
    judged = [what_disturbed(launches_of_one) for launches_of_one in groups.values()]
    return {launch: what for some in judged for launch, what in some.items()}


def _machines(connection: sa.Connection, ids: set[str | None]) -> dict[str, str]:
    """Return the machine of each environment: a launch is held against others of its own machine only."""
    if len(ids) < 2:
        return {}
    query = schema.environments.select().where(schema.environments.c.id.in_(ids - {None}))
    return {row.id: machine_name(row.content) for row in connection.execute(query)}
