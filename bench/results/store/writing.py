"""Enters runs and launches into the tables."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any

import sqlalchemy as sa

from bench.records import Artifact, Result, as_json
from bench.results.store import schema
from bench.results.store.columns import Whole
from bench.results.store.rows import CellRow, StageRow, measurement_row


def enter_run(
    connection: sa.Connection,
    run_id: str,
    identity: str,
    matrix: str,
    command: str,
    request: Mapping[str, Any],
) -> None:
    """Enter a run that begins now, after all that are there."""
    latest = sa.select(sa.type_coerce(sa.func.max(schema.runs.c.number), Whole()))
    connection.execute(
        schema.runs.insert().values(
            id=run_id,
            number=(connection.execute(latest).scalar() or 0) + 1,
            identity=identity,
            state="running",
            matrix=matrix,
            command=command,
            request=dict(request),
            started_s=time.time(),
        )
    )


def enter_plan(
    connection: sa.Connection, run_id: str, stages: Sequence[StageRow], cells: Sequence[CellRow]
) -> None:
    """Enter a run's stages and cells in their order."""
    for position, stage in enumerate(stages):
        _enter_stage(connection, run_id, position, stage)
    for position, cell in enumerate(cells):
        connection.execute(
            schema.cells.insert().values(
                run_id=run_id,
                position=position,
                name=cell.name,
                axes=dict(cell.axes),
                stages=dict(cell.stages),
                skipped=cell.skipped,
            )
        )


def change_plan(
    connection: sa.Connection, run_id: str, stages: Sequence[StageRow], cells: Sequence[CellRow]
) -> None:
    """Put stages in the place of those of their keys, new ones last, and other stages into cells."""
    table = schema.stages.c
    query = sa.select(table.key, table.position).where(table.run_id == run_id)
    positions = {row.key: row.position for row in connection.execute(query)}
    for stage in stages:
        position = positions.setdefault(stage.key, len(positions))
        _enter_stage(connection, run_id, position, stage)
    for cell in cells:
        own = sa.and_(schema.cells.c.run_id == run_id, schema.cells.c.name == cell.name)
        connection.execute(schema.cells.update().where(own).values(stages=dict(cell.stages)))


def _enter_stage(connection: sa.Connection, run_id: str, position: int, stage: StageRow) -> None:
    connection.execute(
        schema.stages.insert()
        .prefix_with("OR REPLACE")
        .values(
            run_id=run_id,
            key=stage.key,
            position=position,
            kind=stage.kind,
            label=stage.label,
            timed=stage.timed,
            parents=list(stage.parents),
            request=as_json(stage.request, whole=True),
        )
    )


def enter_launch(
    connection: sa.Connection, run_id: str, stage_key: str, round_: int, result: Result, *, reused: bool
) -> int:
    """Enter a launch with its environment and measurements; returns its id."""
    inserted = connection.execute(
        schema.launches.insert().values(
            run_id=run_id,
            stage_key=stage_key,
            round=round_,
            state=result.state,
            reason=result.reason,
            output_tail=result.output_tail,
            reused=reused,
            start_s=result.start_s,
            wall_s=result.wall_s,
            body_s=result.body_s,
            environment_id=_enter_environment(connection, result.environment),
            dynamic=dict(result.dynamic),
        )
    )
    launch_id: int = inserted.lastrowid
    for measurement in result.measurements:
        connection.execute(schema.measurements.insert().values(measurement_row(launch_id, measurement)))
    return launch_id


def enter_artifact(connection: sa.Connection, key: str, kind: str, entry: Artifact) -> None:
    """Enter an artifact, in place of one of the same key."""
    connection.execute(
        schema.artifacts.insert().prefix_with("OR REPLACE").values(key=key, kind=kind, **vars(entry))
    )


def _enter_environment(connection: sa.Connection, content: Mapping[str, Any]) -> str | None:
    if not content:
        return None
    text = json.dumps(content, sort_keys=True)
    id_ = sha256(text.encode()).hexdigest()[:16]
    connection.execute(
        schema.environments.insert().prefix_with("OR IGNORE").values(id=id_, content=json.loads(text))
    )
    return id_
