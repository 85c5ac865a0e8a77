"""Reads what is known of the surroundings of a run's launches, and which of them were disturbed."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
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
    return disturbances_among(connection, [tuple(row) for row in connection.execute(query)])


def disturbances_among(
    connection: sa.Connection, good: Sequence[tuple[int, Mapping[str, Any], str | None]]
) -> dict[int, str]:
    """Return what disturbed each of a run's good launches, from (id, dynamic, environment's id) of each."""
    machines = _machines(connection, {environment_id for _, _, environment_id in good})
    groups: dict[object, dict[int, Any]] = {}
    for id_, dynamic, environment_id in good:
        groups.setdefault(machines.get(environment_id or ""), {})[id_] = dynamic
    judged = [what_disturbed(launches_of_one) for launches_of_one in groups.values()]
    return {launch: what for some in judged for launch, what in some.items()}


def _machines(connection: sa.Connection, ids: set[str | None]) -> dict[str, tuple[str, int | None]]:
    """Return the machine of each environment, and how many of its cores were used.

    A launch is held against others of its own: the reference product takes longer on fewer cores.
    """
    if len(ids) < 2:
        return {}
    query = schema.environments.select().where(schema.environments.c.id.in_(ids - {None}))
    return {row.id: (machine_name(row.content), row.content.get("cpus")) for row in connection.execute(query)}
