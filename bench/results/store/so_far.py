"""What a run has measured so far, as a run that goes on needs it: of records that can be read, and no others.

`readable` is the condition that a launch is of the run and that its record can be read.
"""

from __future__ import annotations

import sqlalchemy as sa

from bench.results.store import schema
from bench.results.store.rows import LaunchCount

Readable = sa.ColumnElement[bool]


def launch_results(connection: sa.Connection, readable: Readable) -> list[tuple[str, int, str]]:
    """Return (stage key, round, state) of each launch, oldest first."""
    launches = schema.launches.c
    query = sa.select(launches.stage_key, launches.round, launches.state).where(readable)
    return [(row.stage_key, row.round, row.state) for row in connection.execute(query.order_by(launches.id))]


def reasons(connection: sa.Connection, readable: Readable) -> dict[str, str]:
    """Return why the latest launch of each stage ended as it did, by its key."""
    launches = schema.launches.c
    query = sa.select(launches.stage_key, launches.reason).where(readable).order_by(launches.id)
    return {row.stage_key: row.reason for row in connection.execute(query)}


def values_of(
    connection: sa.Connection, readable: Readable, *metrics: str
) -> list[tuple[str, str, str, float | None, str]]:
    """Return (stage key, metric, qualifier, value, method) of each measurement of these metrics."""
    launches, found = schema.launches.c, schema.measurements.c
    query = (
        sa.select(launches.stage_key, found.metric, found.qualifier, found.value, found.method)
        .join(schema.launches, launches.id == found.launch_id)
        .where(readable, found.metric.in_(metrics))
        .order_by(launches.id)
    )
    return [tuple(row) for row in connection.execute(query)]


def modules(connection: sa.Connection, readable: Readable) -> dict[str, str]:
    """Return the digests of the user's modules that took part in launches, by path."""
    rows = connection.execute(sa.select(schema.launches.c.dynamic).where(readable))
    found = [row.dynamic.get("modules", {}) for row in rows]
    return {path: digest for modules in found for path, digest in modules.items()}


def launch_values(
    connection: sa.Connection, readable: Readable, stage_key: str, metric: str
) -> list[tuple[int, float]]:
    """Return (launch id, value) of a metric in each good launch of one stage."""
    launches, found = schema.launches.c, schema.measurements.c
    query = (
        sa.select(found.launch_id, found.value)
        .join(schema.launches, launches.id == found.launch_id)
        .where(readable, launches.stage_key == stage_key, launches.state == "ok")
        .where(found.metric == metric, found.value.is_not(None))
        .order_by(launches.id)
    )
    return [(row.launch_id, float(row.value)) for row in connection.execute(query)]


def launch_counts(
    connection: sa.Connection, readable: Readable, disturbed: dict[int, str]
) -> dict[str, LaunchCount]:
    """Count the good launches of each stage, by its key; `disturbed` says of each by what, if it was."""
    launches = schema.launches.c
    query = sa.select(launches.id, launches.stage_key).where(readable, launches.state == "ok")
    found: dict[str, LaunchCount] = {}
    for row in connection.execute(query.order_by(launches.id)):
        before = found.get(row.stage_key, LaunchCount(0, 0))
        found[row.stage_key] = LaunchCount(before.good + 1, before.disturbed + bool(disturbed[row.id]))
    return found
