"""The tables of the results store, versioned, and the statements that upgrade older versions."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa

SCHEMA_VERSION = 2
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
    sa.Column("number", sa.Integer, nullable=False, server_default=sa.text("0")),
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
    sa.Column("run_id", sa.String, sa.ForeignKey("runs.id"), nullable=False),
    sa.Column("stage_key", sa.String, nullable=False),
    sa.Column("round", sa.Integer, nullable=False),
    sa.Column("state", sa.String, nullable=False),
    sa.Column("reason", sa.String, nullable=False),
    sa.Column("output_tail", sa.String, nullable=False),
    sa.Column("reused", sa.Boolean, nullable=False),
    sa.Column("start_s", sa.Float, nullable=False),
    sa.Column("wall_s", sa.Float, nullable=False),
    sa.Column("body_s", sa.Float, nullable=False),
    sa.Column("environment_id", sa.String, index=True),
    sa.Column("dynamic", sa.JSON, nullable=False),
    sa.Index("ix_launches_run_id_stage_key", "run_id", "stage_key"),
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
UPGRADES: dict[int, Sequence[str]] = {
    1: (
        # The order that runs were entered in: the wall clock can be set back.
        "ALTER TABLE runs ADD COLUMN number INTEGER DEFAULT 0 NOT NULL",
        "UPDATE runs SET number = rowid",
        # A run asks for the launches of one stage each time a timed launch ends.
        "CREATE INDEX ix_launches_run_id_stage_key ON launches (run_id, stage_key)",
        "DROP INDEX ix_launches_run_id",
        # Cleaning asks of each environment whether a launch still names it.
        "CREATE INDEX ix_launches_environment_id ON launches (environment_id)",
    ),
}
