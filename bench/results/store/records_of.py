"""The launches of a run as they were entered: what another store takes over."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from bench.records import Measurement, Result
from bench.results.store import schema


@dataclass(frozen=True)
class Launch:
    """One launch of a stage: its round from 0, its result, and whether it took over an earlier artifact."""

    stage_key: str
    round: int
    result: Result
    reused: bool


def launches_of(connection: sa.Connection, readable: sa.ColumnElement[bool]) -> Iterator[Launch]:
    """Yield the launches that meet a condition, oldest first; artifacts are entered apart from them."""
    table = schema.launches.c
    found = connection.execute(schema.launches.select().where(readable).order_by(table.id)).all()
    environments = {row.id: row.content for row in connection.execute(schema.environments.select())}
    measured: dict[int, list[Measurement]] = {}
    query = (
        schema.measurements.select()
        .join(schema.launches, table.id == schema.measurements.c.launch_id)
        .where(readable)
    )
    for row in connection.execute(query):
        measured.setdefault(row.launch_id, []).append(_measurement(row))
    for row in found:
        result = Result(
            row.state,
            row.reason,
            row.output_tail,
            row.start_s,
            row.wall_s,
            row.body_s,
            tuple(measured.get(row.id, ())),
            environments.get(row.environment_id, {}),
            row.dynamic,
        )
        yield Launch(row.stage_key, row.round, result, bool(row.reused))


def _measurement(row: Any) -> Measurement:
    samples = () if row.samples is None else tuple(map(float, row.samples))
    return Measurement(
        row.metric,
        row.value,
        row.low,
        row.high,
        row.n,
        row.method,
        row.reason,
        row.qualifier,
        samples,
    )
