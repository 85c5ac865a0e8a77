"""The schema of the results store, versioned, and the upgrades from older versions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import DatabaseError

from bench.errors import StoreError

SCHEMA_VERSION = 1
SCHEMA = sa.MetaData()

meta = sa.Table(
    "meta",
    SCHEMA,
    sa.Column("key", sa.String, primary_key=True),
    sa.Column("value", sa.String, nullable=False),
)
runs = sa.Table(
    "runs",
    SCHEMA,
    sa.Column("id", sa.String, primary_key=True),
    sa.Column("identity", sa.String, nullable=False, index=True),
    sa.Column("state", sa.String, nullable=False),  # running, finished
    sa.Column("matrix", sa.String, nullable=False),
    sa.Column("command", sa.String, nullable=False),
    sa.Column("request", sa.JSON, nullable=False),
    sa.Column("started_s", sa.Float, nullable=False),
    sa.Column("finished_s", sa.Float),
)
stages = sa.Table(
    "stages",
    SCHEMA,
    sa.Column("run_id", sa.String, sa.ForeignKey("runs.id"), primary_key=True),
    sa.Column("key", sa.String, primary_key=True),
    sa.Column("position", sa.Integer, nullable=False),
    sa.Column("kind", sa.String, nullable=False),
    sa.Column("label", sa.String, nullable=False),
    sa.Column("timed", sa.Boolean, nullable=False),
    sa.Column("parents", sa.JSON, nullable=False),
    sa.Column("request", sa.JSON, nullable=False),
)
cells = sa.Table(
    "cells",
    SCHEMA,
    sa.Column("run_id", sa.String, sa.ForeignKey("runs.id"), primary_key=True),
    sa.Column("position", sa.Integer, primary_key=True),
    sa.Column("name", sa.String, nullable=False),
    sa.Column("axes", sa.JSON, nullable=False),
    sa.Column("stages", sa.JSON, nullable=False),
    sa.Column("skipped", sa.String, nullable=False),
)
environments = sa.Table(
    "environments",
    SCHEMA,
    sa.Column("id", sa.String, primary_key=True),
    sa.Column("content", sa.JSON, nullable=False),
)
launches = sa.Table(
    "launches",
    SCHEMA,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("run_id", sa.String, sa.ForeignKey("runs.id"), nullable=False, index=True),
    sa.Column("stage_key", sa.String, nullable=False),
    sa.Column("round", sa.Integer, nullable=False),
    sa.Column("state", sa.String, nullable=False),
    sa.Column("reason", sa.String, nullable=False),
    sa.Column("output_tail", sa.String, nullable=False),
    sa.Column("reused", sa.Boolean, nullable=False),
    sa.Column("start_s", sa.Float, nullable=False),
    sa.Column("wall_s", sa.Float, nullable=False),
    sa.Column("body_s", sa.Float, nullable=False),
    sa.Column("environment_id", sa.String),
    sa.Column("dynamic", sa.JSON, nullable=False),
)
measurements = sa.Table(
    "measurements",
    SCHEMA,
    sa.Column("launch_id", sa.Integer, sa.ForeignKey("launches.id"), primary_key=True),
    sa.Column("metric", sa.String, primary_key=True),
    sa.Column("qualifier", sa.String, primary_key=True),
    sa.Column("value", sa.Float),
    sa.Column("low", sa.Float),
    sa.Column("high", sa.Float),
    sa.Column("n", sa.Integer),
    sa.Column("method", sa.String, nullable=False),
    sa.Column("reason", sa.String, nullable=False),
    sa.Column("samples", sa.LargeBinary),  # zlib of little-endian float64
)
artifacts = sa.Table(
    "artifacts",
    SCHEMA,
    sa.Column("key", sa.String, primary_key=True),
    sa.Column("kind", sa.String, nullable=False),
    sa.Column("sha256", sa.String, nullable=False),
    sa.Column("bytes", sa.Integer, nullable=False),
    sa.Column("created_s", sa.Float, nullable=False),
)
overheads = sa.Table(
    "overheads",
    SCHEMA,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("run_id", sa.String, sa.ForeignKey("runs.id"), nullable=False, index=True),
    sa.Column("part", sa.String, nullable=False),
    sa.Column("seconds", sa.Float, nullable=False),
)

# One list of statements for each version to upgrade from; version n is upgraded by UPGRADES[n].
UPGRADES: dict[int, Sequence[str]] = {}


def open_engine(path: Path) -> sa.Engine:
    """Open the SQLite file, create or upgrade its schema; raises StoreError where that cannot be done."""
    engine = sa.create_engine(f"sqlite:///{path}", connect_args={"timeout": 30})
    sa.event.listen(engine, "connect", _configure)
    sa.event.listen(engine, "begin", _begin)
    try:
        _prepare(engine, path)
    except DatabaseError as error:
        raise StoreError(f"{path}: not a readable store ({error.orig})") from None
    return engine


def _configure(connection: Any, _: Any) -> None:
    # The driver's own transactions would leave DDL outside them; ours begin explicitly.
    connection.isolation_level = None
    connection.execute("PRAGMA journal_mode=DELETE")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA foreign_keys=ON")


def _begin(connection: sa.Connection) -> None:
    connection.exec_driver_sql("BEGIN")


def _prepare(engine: sa.Engine, path: Path) -> None:
    with engine.begin() as connection:
        if not sa.inspect(connection).has_table("meta"):
            SCHEMA.create_all(connection)
            connection.execute(meta.insert().values(key="schema_version", value=str(SCHEMA_VERSION)))
            return
        query = sa.select(meta.c.value).where(meta.c.key == "schema_version")
        version = int(connection.execute(query).scalar_one())
        if version > SCHEMA_VERSION:
            raise StoreError(
                f"{path}: written by a newer version (schema {version}, this one reads {SCHEMA_VERSION}); "
                "update dl-efficiency-bench"
            )
        for old in range(version, SCHEMA_VERSION):
            for statement in UPGRADES[old]:
                connection.exec_driver_sql(statement)
        if version < SCHEMA_VERSION:
            connection.execute(
                meta.update().where(meta.c.key == "schema_version").values(value=str(SCHEMA_VERSION))
            )
