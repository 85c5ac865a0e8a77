"""Reads what is known of the surroundings of a run's launches, and which of them were disturbed."""

from __future__ import annotations

from collections.abc import Collection

import sqlalchemy as sa

from bench.analysis.disturbed import what_disturbed
from bench.results.store import schema


def disturbances(connection: sa.Connection, run_id: str, without: Collection[int] = ()) -> dict[int, str]:
    """Return for each good launch of a run, by its id, what disturbed it; an empty text where nothing did.

    Launches `without` which it is judged are those that cannot be read.
    """
    launches = schema.launches.c
    query = sa.select(launches.id, launches.dynamic).where(
        launches.run_id == run_id, launches.state == "ok", launches.id.not_in(without)
    )
    return what_disturbed({row.id: row.dynamic for row in connection.execute(query)})
