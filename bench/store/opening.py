"""Opens the store's file: creates it whole or not at all, upgrades it, and says in one line what is wrong."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from bench.errors import StoreError
from bench.store.schema import SCHEMA, SCHEMA_VERSION, UPGRADES, meta

_MAGIC = b"SQLite format 3\0"
_HEADER_BYTES = 100
_RESTORE = (
    "move it aside, or put a copy of it back, then run again: artifacts are safe and will be reused, "
    "and this file was left as it is"
)
# By the beginning of the name that SQLite gives an error; the first that fits is taken.
_FAULTS = {
    "SQLITE_NOTADB": f"not a readable store (no database); {_RESTORE}",
    "SQLITE_CORRUPT": f"not a readable store (truncated or damaged); {_RESTORE}",
    "SQLITE_FULL": "no space left; free some, and the same command goes on: what was in it is safe",
    "SQLITE_IOERR": "the disk does not read or write; look at its quota and health: what was in it is safe",
    "SQLITE_READONLY": "cannot be written (read-only); make it writable, or give another --results",
    "SQLITE_CANTOPEN": "cannot be opened; make its folder readable and writable, or give another --results",
    "SQLITE_BUSY": "another process is writing it; wait until that has ended",
}


def open_engine(path: Path) -> sa.Engine:
    """Open a store's file, upgrade its schema; raises StoreError where that cannot be done.

    Whatever later goes wrong with the file is raised as StoreError too.
    """
    fault = _fault(path)
    if fault:
        raise StoreError(f"{path}: not a readable store ({fault}); {_RESTORE}")
    engine = _connect(path)
    with engine.begin() as connection:
        _upgrade(connection, path)
    return engine


def _fault(path: Path) -> str:
    """Say what SQLite overlooks: to it an empty file is a new database, a torn last page a whole one."""
    size = path.stat().st_size
    with path.open("rb") as file:
        header = file.read(_HEADER_BYTES)
    if not header:
        return "empty"
    if not header.startswith(_MAGIC):
        return "no database"
    # A page size of 65536 does not fit its field and is written as 1.
    page_bytes = int.from_bytes(header[16:18], "big")
    killed_in_commit = path.with_name(f"{path.name}-journal").exists()
    return "truncated" if size % max(512, page_bytes) and not killed_in_commit else ""


def create(path: Path) -> None:
    """Create an empty store beside its place and rename it there: a kill leaves none, or a whole one."""
    part = path.with_suffix(".part")
    part.unlink(missing_ok=True)
    engine = _connect(part)
    with engine.begin() as connection:
        SCHEMA.create_all(connection)
        connection.execute(meta.insert().values(key="schema_version", value=str(SCHEMA_VERSION)))
    engine.dispose()
    part.rename(path)


def _connect(path: Path) -> sa.Engine:
    engine = sa.create_engine(f"sqlite:///{path}", connect_args={"timeout": 30})

    def explain(context: sa.ExceptionContext) -> None:
        if not isinstance(context.original_exception, sqlite3.Error):
            return  # a wish to stop, caught inside the library: no fault of the store
        name = getattr(context.original_exception, "sqlite_errorname", "")
        for beginning, text in _FAULTS.items():
            if name.startswith(beginning):
                raise StoreError(f"{path}: {text}") from None
        raise StoreError(f"{path}: cannot be read or written ({context.original_exception})") from None

    sa.event.listen(engine, "connect", _configure)
    sa.event.listen(engine, "begin", _begin)
    sa.event.listen(engine, "handle_error", explain)
    return engine


def _configure(connection: Any, _: Any) -> None:
    # The driver's own transactions would leave DDL outside them; ours begin explicitly.
    connection.isolation_level = None
    connection.execute("PRAGMA journal_mode=DELETE")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA foreign_keys=ON")


def _begin(connection: sa.Connection) -> None:
    connection.exec_driver_sql("BEGIN")


def _upgrade(connection: sa.Connection, path: Path) -> None:
    text = None
    if sa.inspect(connection).has_table(meta.name):
        text = connection.execute(sa.select(meta.c.value).where(meta.c.key == "schema_version")).scalar()
    if text is None or not text.isdecimal():
        raise StoreError(f"{path}: not a readable store (a database of something else); {_RESTORE}")
    version = int(text)
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
