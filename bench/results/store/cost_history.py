"""What launches cost, over all runs of a store; and the prediction that a run keeps of its own."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from bench.results.store import schema
from bench.results.store.columns import Whole

COST_METRICS = (
    *("steps_trained", "training_s", "evaluation_s", "evaluation_period", "target_reached"),
    *("step_latency_s", "curve_step"),
)
"""What, beside wall time and bytes, says how a launch's cost grows with its settings."""

RECENT_LAUNCHES = 5000


@dataclass(frozen=True)
class LaunchCost:
    """What one good launch of a stage took.

    `launches` is how many its stage had in a run that is finished, None in one that is not. `values` maps
    the metrics in COST_METRICS that it measured; `curve_step` stands for the number of evaluations.
    """

    kind: str
    settings: Mapping[str, Any]
    wall_s: float
    round: int = 0
    launches: int | None = None
    artifact_bytes: int | None = None
    values: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class RunCosts:
    """What a finished run spent beside its launches: seconds by part, and how much there was to do."""

    run_id: str
    overheads: Mapping[str, float]
    launches: int
    rounds: int


@dataclass(frozen=True)
class CostHistory:
    """What a store knows of a folder's costs: recent good launches, oldest first; the latest finished run.

    `launches_in_store` counts all of its launches, whatever came of them.
    """

    launches: tuple[LaunchCost, ...]
    run: RunCosts | None
    launches_in_store: int


def cost_history(connection: sa.Connection, folder: str, without: Collection[int] = ()) -> CostHistory:
    """Return what a folder's recent launches and its latest finished run took.

    Launches `without` which that is cannot be read.
    """
    own = schema.launches.join(schema.runs, schema.runs.c.id == schema.launches.c.run_id)
    count = sa.select(sa.func.count()).select_from(own).where(schema.runs.c.folder == folder)
    return CostHistory(
        tuple(_launch_costs(connection, folder, without)),
        _run_costs(connection, folder, without),
        connection.execute(count).scalar_one(),
    )


def _launch_costs(connection: sa.Connection, folder: str, without: Collection[int]) -> list[LaunchCost]:
    """Return the most recent good launches that did their own work, oldest first."""
    launches, runs, stages = schema.launches.c, schema.runs.c, schema.stages.c
    artifacts = schema.artifacts.c
    own_artifact = sa.and_(artifacts.folder == folder, artifacts.key == launches.stage_key)
    in_stage = sa.func.count().over(partition_by=(launches.run_id, launches.stage_key))
    query = (
        sa.select(
            *(launches.id, launches.wall_s, launches.round, runs.state, stages.kind, stages.request),
            *(sa.type_coerce(artifacts.bytes, Whole()).label("bytes"), in_stage.label("in_stage")),
        )
        .join(schema.runs, runs.id == launches.run_id)
        .join(schema.stages, sa.and_(stages.run_id == launches.run_id, stages.key == launches.stage_key))
        .outerjoin(schema.artifacts, own_artifact)
        .where(runs.folder == folder)
        .where(launches.state == "ok", launches.reused == 0, launches.wall_s > 0)
        .where(launches.id.not_in(without))
        .order_by(launches.id.desc())
        .limit(RECENT_LAUNCHES)
    )
    rows = connection.execute(query).all()[::-1]
    values = _values(connection, folder, rows[0].id if rows else 0, without)
    return [
        LaunchCost(
            row.kind,
            row.request.get("settings", {}),
            row.wall_s,
            row.round,
            row.in_stage if row.state == "finished" else None,
            row.bytes,
            values[row.id],
        )
        for row in rows
    ]


def _run_costs(connection: sa.Connection, folder: str, without: Collection[int]) -> RunCosts | None:
    """Return what the folder's latest finished run with a launch spent beside its launches, or None."""
    launches, runs = schema.launches.c, schema.runs.c
    query = (
        sa.select(runs.id, sa.func.count().label("launches"), sa.func.max(launches.round).label("last_round"))
        .join(schema.launches, launches.run_id == runs.id)
        .where(runs.folder == folder, runs.state == "finished", launches.reused == 0, launches.wall_s > 0)
        .where(launches.id.not_in(without))
        .group_by(runs.id)
        .order_by(sa.func.max(launches.id).desc())
        .limit(1)
    )
    row = connection.execute(query).one_or_none()
    if row is None:
        return None
    parts = sa.select(schema.overheads.c.part, schema.overheads.c.seconds).where(
        schema.overheads.c.run_id == row.id
    )
    overheads: dict[str, float] = defaultdict(float)
    for part, seconds in connection.execute(parts):
        overheads[part] += seconds
    return RunCosts(row.id, dict(overheads), row.launches, row.last_round + 1)


def artifact_bytes(connection: sa.Connection, run_id: str, keys: Iterable[str]) -> dict[str, int]:
    """Return the bytes of those artifacts that are entered, in the folder of that run."""
    wanted, artifacts = set(keys), schema.artifacts.c
    folder = sa.select(schema.runs.c.folder).where(schema.runs.c.id == run_id).scalar_subquery()
    rows = connection.execute(sa.select(artifacts.key, artifacts.bytes).where(artifacts.folder == folder))
    return {row.key: row.bytes for row in rows if row.key in wanted}


def keep_prediction(connection: sa.Connection, run_id: str, prediction: Mapping[str, Any]) -> None:
    """Keep in a run's request what its latest execution predicted of itself at its start."""
    request = connection.execute(
        sa.select(schema.runs.c.request).where(schema.runs.c.id == run_id)
    ).scalar_one()
    connection.execute(
        schema.runs.update()
        .where(schema.runs.c.id == run_id)
        .values(request={**request, "prediction": dict(prediction)})
    )


def _values(
    connection: sa.Connection, folder: str, first_id: int, without: Collection[int]
) -> dict[int, dict[str, float]]:
    found: dict[int, dict[str, float]] = defaultdict(dict)
    columns = schema.measurements.c
    query = sa.select(columns.launch_id, columns.metric, columns.value, columns.n).where(
        columns.launch_id >= first_id,
        columns.launch_id.not_in(without),
        columns.metric.in_(COST_METRICS),
        columns.value.is_not(None),
    )
    if folder:  # a server has other folders' launches too
        launches, runs = schema.launches.c, schema.runs.c
        own = sa.select(launches.id).join(schema.runs, runs.id == launches.run_id)
        query = query.where(columns.launch_id.in_(own.where(runs.folder == folder)))
    for row in connection.execute(query):
        value = row.n if row.metric == "curve_step" else row.value
        if value is not None and value >= 0:
            found[row.launch_id][row.metric] = value
    return found
