"""Enters runs and launches into the tables."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from hashlib import sha256
from itertools import islice
from typing import Any

import sqlalchemy as sa

from bench.records import Artifact, Result, as_json
from bench.results.store import schema
from bench.results.store.columns import Whole
from bench.results.store.database import insert, replace
from bench.results.store.rows import CellRow, StageRow, measurement_row

ROWS_AT_ONCE = 1000


def enter_run(
    connection: sa.Connection,
    run_id: str,
    identity: str,
    matrix: str,
    command: str,
    request: Mapping[str, Any],
    *,
    folder: str,
    host: str,
    started_s: float,
) -> str:
    """Enter a run after all that are there; returns its id, longer where that was taken."""
    latest = sa.select(sa.type_coerce(sa.func.max(schema.runs.c.number), Whole()))
    number = (connection.execute(latest).scalar() or 0) + 1
    while connection.execute(sa.select(schema.runs.c.id).where(schema.runs.c.id == run_id)).scalar():
        run_id += "+"
    connection.execute(
        schema.runs.insert().values(
            id=run_id,
            number=number,
            identity=identity,
            state="running",
            matrix=matrix,
            command=command,
            request=dict(request),
            started_s=started_s,
            folder=folder,
            host=host,
        )
    )
    return run_id


def finish_run(connection: sa.Connection, run_id: str, finished_s: float) -> None:
    """Mark a run as finished at that time (Unix time)."""
    own = schema.runs.c.id == run_id
    connection.execute(schema.runs.update().where(own).values(state="finished", finished_s=finished_s))


def enter_overhead(connection: sa.Connection, run_id: str, part: str, seconds: float) -> None:
    """Enter seconds that a run spent outside the stages' own bodies, by what they went to."""
    connection.execute(schema.overheads.insert().values(run_id=run_id, part=part, seconds=seconds))


def enter_plan(
    connection: sa.Connection, run_id: str, stages: Sequence[StageRow], cells: Sequence[CellRow]
) -> None:
    """Enter a run's stages and cells in their order."""
    _enter_stages(connection, run_id, enumerate(stages))
    rows = (
        {
            "run_id": run_id,
            "position": position,
            "name": cell.name,
            "axes": dict(cell.axes),
            "stages": dict(cell.stages),
            "skipped": cell.skipped,
        }
        for position, cell in enumerate(cells)
    )
    for some in _in_batches(rows):
        connection.execute(schema.cells.insert(), some)


def change_plan(
    connection: sa.Connection, run_id: str, stages: Sequence[StageRow], cells: Sequence[CellRow]
) -> None:
    """Put stages in the place of those of their keys, new ones last, and other stages into cells."""
    table = schema.stages.c
    query = sa.select(table.key, table.position).where(table.run_id == run_id)
    positions = {row.key: row.position for row in connection.execute(query)}
    placed = [(positions.setdefault(stage.key, len(positions)), stage) for stage in stages]
    _enter_stages(connection, run_id, placed)
    for cell in cells:
        own = sa.and_(schema.cells.c.run_id == run_id, schema.cells.c.name == cell.name)
        connection.execute(schema.cells.update().where(own).values(stages=dict(cell.stages)))


def _enter_stages(connection: sa.Connection, run_id: str, stages: Iterable[tuple[int, StageRow]]) -> None:
    """Enter stages, each with its position, in the place of those of the same keys."""
    rows = (
        {
            "run_id": run_id,
            "key": stage.key,
            "position": position,
            "kind": stage.kind,
            "label": stage.label,
            "timed": stage.timed,
            "parents": list(stage.parents),
            "request": as_json(stage.request, whole=True),
        }
        for position, stage in stages
    )
    for some in _in_batches(rows):
        connection.execute(replace(connection, schema.stages), some)


def _in_batches(rows: Iterator[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    while some := list(islice(rows, ROWS_AT_ONCE)):
        yield some


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
    launch_id: int = inserted.inserted_primary_key[0]  # type: ignore[index]
    rows = [measurement_row(launch_id, measurement) for measurement in result.measurements]
    if rows:
        connection.execute(schema.measurements.insert(), rows)
    return launch_id


def enter_artifact(connection: sa.Connection, folder: str, key: str, kind: str, entry: Artifact) -> None:
    """Enter an artifact, in place of the folder's one of the same key."""
    row = {"folder": folder, "key": key, "kind": kind, **vars(entry)}
    connection.execute(replace(connection, schema.artifacts), row)


def _enter_environment(connection: sa.Connection, content: Mapping[str, Any]) -> str | None:
    if not content:
        return None
    text = json.dumps(content, sort_keys=True)
    id_ = sha256(text.encode()).hexdigest()[:16]
    entered = insert(connection, schema.environments).on_conflict_do_nothing()
    connection.execute(entered, {"id": id_, "content": json.loads(text)})
    return id_
