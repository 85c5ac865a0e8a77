"""Records that cannot be read: a launch of which a column, or one of its measurements, is damaged."""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa

from bench.results.store import schema
from bench.results.store.bulk import read_columns
from bench.results.store.columns import Damaged

_MAX_REASON = 200


@dataclass(frozen=True)
class UnreadableRecord:
    """A launch whose record cannot be read, the stage that it is of, and why."""

    launch_id: int
    stage_key: str
    reason: str


def unreadable_records(connection: sa.Connection, run_id: str) -> list[UnreadableRecord]:
    """Return the launches of a run whose record cannot be read, in their order.

    Raises Damaged where half of them or more cannot: then it is the store that is damaged, and not a record.
    """
    launches = schema.launches.c
    if _fault(connection, launches.run_id == run_id) is None:
        return []
    query = sa.select(launches.id, launches.stage_key).where(launches.run_id == run_id).order_by(launches.id)
    found, faults, known = [], [], connection.execute(query).all()
    for launch_id, stage_key in known:
        fault = _fault(connection, launches.id == launch_id)
        if fault:
            faults.append(fault)
            reason = f"its record cannot be read: {str(fault)[:_MAX_REASON]}"
            found.append(UnreadableRecord(launch_id, stage_key, reason))
    if faults and 2 * len(faults) >= len(known):
        raise faults[0]
    return found


def _fault(connection: sa.Connection, which: sa.ColumnElement[bool]) -> Damaged | None:
    """Return what is wrong with these launches, or one of their measurements."""
    launches, measurements = schema.launches, schema.measurements
    own = measurements.c.launch_id == launches.c.id
    try:
        read_columns(connection, launches.select().where(which))
        read_columns(connection, measurements.select().join(launches, own).where(which))
    except Damaged as error:
        return error
    return None


def as_launch(record: UnreadableRecord, run_id: str) -> dict[str, object]:
    """Return the row of a failed launch that stands for a record."""
    return {
        "id": record.launch_id,
        "run_id": run_id,
        "stage_key": record.stage_key,
        "round": 0,
        "state": "failed",
        "reason": record.reason,
        "output_tail": "",
        "reused": False,
        "start_s": 0.0,
        "wall_s": 0.0,
        "body_s": 0.0,
        "environment_id": None,
        "dynamic": {},
    }
