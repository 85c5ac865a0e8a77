"""Opens the store's file: creates it whole or not at all, upgrades it, and says in one line what is wrong."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Collection
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from bench.errors import StoreError
from bench.results.store import removal
from bench.results.store.columns import Damaged
from bench.results.store.database import MAX_DETAIL, NoStore, explained
from bench.results.store.schema import SCHEMA, SCHEMA_VERSION, UPGRADES, meta

STORE_NAME = "bench.sqlite"

_MAGIC = b"SQLite format 3\0"
_HEADER_BYTES = 100
_JOURNAL_MAGIC = bytes.fromhex("d9d505f920a163d7")
_MAX_VALUE_BYTES = 2**28
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


class SqliteFile:
    """A store in a file; whoever has its folder's lock writes it alone."""

    def __init__(self, path: Path) -> None:
        """Open a store's file and upgrade its schema; raises StoreError where that cannot be done.

        Whatever later goes wrong with the file is raised as StoreError too.
        """
        self.path = path
        fault = _fault(path)
        if fault:
            raise self.unreadable(fault)
        self.engine = _connect(path)
        with explained(self), self.engine.begin() as connection:
            _refuse_programs(connection)
            _upgrade(connection, path)
            _check_layout(connection)

    @property
    def name(self) -> str:
        return str(self.path)

    def unreadable(self, fault: str) -> StoreError:
        return _unreadable(self.path, fault)

    def explain(self, error: BaseException) -> StoreError:
        return _explain(self.path, error)

    def add_beside(self, connection: sa.Connection) -> None:
        """Do nothing: the folder's lock keeps other runners out."""

    def order_alone(self, connection: sa.Connection) -> None:
        """Do nothing: the folder's lock keeps other runners out."""

    def remove_alone(self, connection: sa.Connection, run_ids: Collection[str]) -> None:
        """Do nothing: the folder's lock keeps other runners out."""

    def hold(self, connection: sa.Connection, run_id: str) -> bool:
        """Return True: the folder's lock keeps other runners out."""
        return True

    def disk_bytes(self) -> int:
        return self.path.stat().st_size

    def bytes_without(self, run_ids: Collection[str]) -> int:
        return removal.bytes_without(self.engine, run_ids)

    def compact(self) -> None:
        removal.rewrite(self.engine)


def open_file(folder: Path, *, create: bool) -> SqliteFile:
    """Open the store in a folder; raises NoStore where there is none and none is to be created."""
    path = folder / STORE_NAME
    if not create and not path.is_file():
        raise NoStore(f"{path}: no results yet; `bench run --matrix quick` creates some")
    if not path.is_file():
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"{folder}: {error.strerror}; choose a writable --results") from None
        _create(path)
    return SqliteFile(path)


def _unreadable(path: Path, fault: str) -> StoreError:
    return StoreError(f"{path}: not a readable store ({fault}); {_RESTORE}")


def _explain(path: Path, error: BaseException) -> StoreError:
    name = getattr(error, "sqlite_errorname", "")
    for beginning, text in _FAULTS.items():
        if name.startswith(beginning):
            return StoreError(f"{path}: {text}")
    # Tables or columns are missing, or it holds a value of hundreds of megabytes.
    return _unreadable(path, f"damaged: {ascii(str(error)[:MAX_DETAIL])[1:-1]}")


def _fault(path: Path) -> str:
    """Say what SQLite overlooks: to it an empty file is a new database, a torn last page a whole one."""
    for companion in ("", "-journal", "-wal", "-shm"):
        file = path.with_name(path.name + companion)
        if file.is_symlink() or (file.exists() and not file.is_file()):
            return f"{file.name} must be a file of its own, not a link"
    size = path.stat().st_size
    with path.open("rb") as content:
        header = content.read(_HEADER_BYTES)
    if not header:
        return "empty"
    if not header.startswith(_MAGIC):
        return "no database"
    journal = path.with_name(f"{path.name}-journal")
    if _names_another_journal(journal):
        return f"{journal.name} must be of this file alone"
    # A page size of 65536 does not fit its field and is written as 1.
    page_bytes = int.from_bytes(header[16:18], "big")
    return "truncated" if size % max(512, page_bytes) and not journal.exists() else ""


def _names_another_journal(journal: Path) -> bool:
    """Say whether a journal names the journal of a transaction over several files, which SQLite would delete.

    No store takes part in one. The name stands before the journal's last eight bytes (SQLite file format,
    section 3).
    """
    if not journal.is_file():
        return False
    with journal.open("rb") as content:
        content.seek(max(0, journal.stat().st_size - len(_JOURNAL_MAGIC)))
        return content.read() == _JOURNAL_MAGIC


def _create(path: Path) -> None:
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
    # Not a URL written as text: a folder may be called "50%" or "what?".
    url = sa.URL.create("sqlite", database=str(path))
    engine = sa.create_engine(url, connect_args={"timeout": 30})

    def explain(context: sa.ExceptionContext) -> None:
        if isinstance(context.original_exception, sqlite3.Error | UnicodeDecodeError):
            raise _explain(path, context.original_exception) from None
        # Else a wish to stop, caught inside the library: no fault of the store.

    sa.event.listen(engine, "connect", _configure)
    sa.event.listen(engine, "begin", _begin)
    sa.event.listen(engine, "handle_error", explain)
    return engine


def _configure(connection: Any, _: Any) -> None:
    # The driver's own transactions would leave DDL outside them; ours begin explicitly.
    connection.isolation_level = None
    # What is no UTF-8 becomes halves of pairs, which columns refuse: one record fails, and not the store.
    connection.text_factory = lambda text: text.decode(errors="surrogateescape")
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _MAX_VALUE_BYTES)
    connection.execute("PRAGMA trusted_schema=OFF")
    connection.execute("PRAGMA cell_size_check=ON")
    try:
        connection.execute("PRAGMA journal_mode=DELETE")
    except UnicodeDecodeError:  # what SQLite says of a schema that it cannot parse has the schema's own bytes
        raise sqlite3.DatabaseError("malformed database schema") from None
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA foreign_keys=ON")


def _begin(connection: sa.Connection) -> None:
    connection.exec_driver_sql("BEGIN")


def _refuse_programs(connection: sa.Connection) -> None:
    """Refuse what runs by itself when a table is read or written: no store of ours has any."""
    for type_, name, sql in connection.exec_driver_sql("SELECT type, name, sql FROM sqlite_master"):
        virtual = str(sql).lstrip().upper().startswith("CREATE VIRTUAL")
        if type_ not in ("table", "index") or virtual:
            raise Damaged(f"it has a {'virtual table' if virtual else type_}, {str(name)[:60]!r}")


def _check_layout(connection: sa.Connection) -> None:
    for table in SCHEMA.tables.values():
        rows = connection.exec_driver_sql(f"PRAGMA table_xinfo({table.name})").all()
        found = {row.name for row in rows}
        if any(row.hidden for row in rows):
            raise Damaged(f"table {table.name} has a column that is computed")
        missing = [column.name for column in table.columns if column.name not in found]
        if missing:
            raise Damaged(f"table {table.name} has no {', '.join(missing)}")


def _upgrade(connection: sa.Connection, path: Path) -> None:
    text = None
    if sa.inspect(connection).has_table(meta.name):
        text = connection.execute(sa.select(meta.c.value).where(meta.c.key == "schema_version")).scalar()
    if text is None or not re.fullmatch("[1-9][0-9]{0,5}", text):
        raise _unreadable(path, "a database of something else")
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
