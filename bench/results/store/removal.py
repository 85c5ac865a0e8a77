"""Removes runs from the store, with every row that only they need."""

from __future__ import annotations

from collections.abc import Collection

import sqlalchemy as sa

from bench.results.store import schema


def remove_runs(connection: sa.Connection, run_ids: Collection[str], folder: str = "") -> None:
    """Delete these runs, environments that no run that is left refers to, and the folder's artifacts that
    none of its own does."""
    launches, environments, artifacts = schema.launches, schema.environments, schema.artifacts
    theirs = sa.select(launches.c.id).where(launches.c.run_id.in_(run_ids))
    connection.execute(schema.measurements.delete().where(schema.measurements.c.launch_id.in_(theirs)))
    for table in (launches, schema.overheads, schema.cells, schema.stages):
        connection.execute(table.delete().where(table.c.run_id.in_(run_ids)))
    connection.execute(schema.runs.delete().where(schema.runs.c.id.in_(run_ids)))
    seen = sa.select(launches.c.environment_id).where(launches.c.environment_id.is_not(None))
    connection.execute(environments.delete().where(environments.c.id.not_in(seen)))
    used = (
        sa.select(schema.stages.c.key)
        .join(schema.runs, schema.runs.c.id == schema.stages.c.run_id)
        .where(schema.runs.c.folder == folder)
    )
    unused = sa.and_(artifacts.c.folder == folder, artifacts.c.key.not_in(used))
    connection.execute(artifacts.delete().where(unused))


def rewrite(engine: sa.Engine) -> None:
    """Rewrite the file without the space of deleted rows; needs as much free disk space meanwhile."""
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("COMMIT")  # each of our connections begins a transaction
        connection.exec_driver_sql("VACUUM")


def bytes_without(engine: sa.Engine, run_ids: Collection[str]) -> int:
    """Return the size that the file would have without these runs, tried on a copy in memory."""
    copy = sa.create_engine("sqlite://")
    source, target = engine.raw_connection(), copy.raw_connection()
    try:
        source.driver_connection.backup(target.driver_connection)  # type: ignore[union-attr]
    finally:
        source.close()
        target.close()
    with copy.begin() as connection:
        remove_runs(connection, run_ids)
    with copy.connect() as connection:
        connection.exec_driver_sql("VACUUM")
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
        page_bytes = connection.exec_driver_sql("PRAGMA page_size").scalar_one()
    return int(pages * page_bytes)
