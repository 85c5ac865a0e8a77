"""The tables of the results store, versioned, and the statements that upgrade older versions."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa

from bench.results.folder import RUN_ID
from bench.results.store import documents
from bench.results.store.columns import Document, Flag, Measured, Real, Samples, Text, Whole

SCHEMA_VERSION = 3
SCHEMA = sa.MetaData()

STATES = "ok|failed|oom|timeout|diverged|killed|skipped"
FOLDER_ID = "[0-9a-f]{32}|"
"""The form of a results folder's id; it is empty in a store that lies in its folder."""

LATEST_S = 253402300799.0
"""The end of the year 9999, the last that a calendar knows."""

meta = sa.Table(
    "meta",
    SCHEMA,
    sa.Column("key", Text, primary_key=True),
    sa.Column("value", Text, nullable=False),
)
runs = sa.Table(
    "runs",
    SCHEMA,
    sa.Column("id", Text(RUN_ID), primary_key=True),
    sa.Column("identity", Text, nullable=False, index=True),
    sa.Column("state", Text("running|finished"), nullable=False),
    sa.Column("matrix", Text, nullable=False),
    sa.Column("command", Text, nullable=False),
    sa.Column("request", Document(documents.RUN), nullable=False),
    sa.Column("started_s", Real(0, LATEST_S), nullable=False),
    sa.Column("finished_s", Real(0, LATEST_S)),
    sa.Column("number", Whole, nullable=False, server_default=sa.text("0")),
    sa.Column("folder", Text(FOLDER_ID), nullable=False, server_default=sa.text("''")),
    sa.Column("host", Text, nullable=False, server_default=sa.text("''")),
)
stages = sa.Table(
    "stages",
    SCHEMA,
    sa.Column("run_id", Text(RUN_ID), sa.ForeignKey("runs.id"), primary_key=True),
    sa.Column("key", Text(documents.KEY), primary_key=True),
    sa.Column("position", Whole, nullable=False),
    sa.Column("kind", Text("[a-z0-9][a-z0-9.-]{0,39}"), nullable=False),
    sa.Column("label", Text, nullable=False),
    sa.Column("timed", Flag, nullable=False),
    sa.Column("parents", Document(documents.PARENTS), nullable=False),
    sa.Column("request", Document(documents.STAGE), nullable=False),
)
cells = sa.Table(
    "cells",
    SCHEMA,
    sa.Column("run_id", Text(RUN_ID), sa.ForeignKey("runs.id"), primary_key=True),
    sa.Column("position", Whole, primary_key=True),
    sa.Column("name", Text, nullable=False),
    sa.Column("axes", Document(documents.AXES), nullable=False),
    sa.Column("stages", Document(documents.STAGE_KEYS), nullable=False),
    sa.Column("skipped", Text, nullable=False),
)
environments = sa.Table(
    "environments",
    SCHEMA,
    sa.Column("id", Text, primary_key=True),
    sa.Column("content", Document(documents.ENVIRONMENT), nullable=False),
)
launches = sa.Table(
    "launches",
    SCHEMA,
    sa.Column("id", Whole, primary_key=True),
    sa.Column("run_id", Text(RUN_ID), sa.ForeignKey("runs.id"), nullable=False),
    sa.Column("stage_key", Text(documents.KEY), nullable=False),
    sa.Column("round", Whole, nullable=False),
    sa.Column("state", Text(STATES), nullable=False),
    sa.Column("reason", Text, nullable=False),
    sa.Column("output_tail", Text, nullable=False),
    sa.Column("reused", Flag, nullable=False),
    sa.Column("start_s", Real, nullable=False),
    sa.Column("wall_s", Real, nullable=False),
    sa.Column("body_s", Real, nullable=False),
    sa.Column("environment_id", Text, index=True),
    sa.Column("dynamic", Document(documents.DYNAMIC), nullable=False),
    sa.Index("ix_launches_run_id_stage_key", "run_id", "stage_key"),
)
measurements = sa.Table(
    "measurements",
    SCHEMA,
    sa.Column("launch_id", Whole, sa.ForeignKey("launches.id"), primary_key=True),
    sa.Column("metric", Text, primary_key=True),
    sa.Column("qualifier", Text, primary_key=True),
    sa.Column("value", Measured),
    sa.Column("low", Measured),
    sa.Column("high", Measured),
    sa.Column("n", Whole),
    sa.Column("method", Text, nullable=False),
    sa.Column("reason", Text, nullable=False),
    sa.Column("samples", Samples),
)
artifacts = sa.Table(
    "artifacts",
    SCHEMA,
    # Two machines make different bytes of the same key.
    sa.Column("folder", Text(FOLDER_ID), primary_key=True, server_default=sa.text("''")),
    sa.Column("key", Text(documents.KEY), primary_key=True),
    sa.Column("kind", Text("[a-z0-9][a-z0-9.-]{0,39}"), nullable=False),
    sa.Column("sha256", Text, nullable=False),
    sa.Column("bytes", Whole, nullable=False),
    sa.Column("created_s", Real, nullable=False),
)
overheads = sa.Table(
    "overheads",
    SCHEMA,
    sa.Column("id", Whole, primary_key=True),
    sa.Column("run_id", Text(RUN_ID), sa.ForeignKey("runs.id"), nullable=False, index=True),
    sa.Column("part", Text, nullable=False),
    sa.Column("seconds", Real, nullable=False),
)

for _table in SCHEMA.tables.values():
    for _column in _table.columns:
        _column.type.place = f"{_table.name}.{_column.name}"  # type: ignore[attr-defined]
        _column.type.optional = bool(_column.nullable)  # type: ignore[attr-defined]

# One list of statements for each version to upgrade from; version n is upgraded by UPGRADES[n]. Those up to
# version 2 are SQLite's alone: the first version on a server is 3.
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
    2: (
        # Whose run, and whose artifact: a server has those of several folders.
        "ALTER TABLE runs ADD COLUMN folder VARCHAR DEFAULT '' NOT NULL",
        "ALTER TABLE runs ADD COLUMN host VARCHAR DEFAULT '' NOT NULL",
        "CREATE TABLE artifacts_by_folder (folder VARCHAR DEFAULT '' NOT NULL, \"key\" VARCHAR NOT NULL, "
        "kind VARCHAR NOT NULL, sha256 VARCHAR NOT NULL, bytes INTEGER NOT NULL, created_s FLOAT NOT NULL, "
        'PRIMARY KEY (folder, "key"))',
        'INSERT INTO artifacts_by_folder ("key", kind, sha256, bytes, created_s) '
        'SELECT "key", kind, sha256, bytes, created_s FROM artifacts',
        "DROP TABLE artifacts",
        "ALTER TABLE artifacts_by_folder RENAME TO artifacts",
    ),
}
