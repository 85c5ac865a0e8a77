"""What the two kinds of store have in common, and what each does in its own way."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from bench.errors import StoreError
from bench.results.store.columns import Damaged

MAX_DETAIL = 160


class NoStore(StoreError):
    """There is no store yet where one is to be read."""


class Database(Protocol):
    """A file of SQLite's, or a server of PostgreSQL's."""

    engine: sa.Engine

    @property
    def name(self) -> str:
        """The name in messages: the file's path, or the server's URL without its password."""

    def unreadable(self, fault: str) -> StoreError:
        """Return the error of a store that is damaged, or no store at all."""

    def explain(self, error: BaseException) -> StoreError:
        """Return what the database's own error means, in one line."""

    def add_beside(self, connection: sa.Connection) -> None:
        """Let other runners write until the transaction ends, but remove nothing."""

    def order_alone(self, connection: sa.Connection) -> None:
        """Let no other runner enter a run until the transaction ends."""

    def remove_alone(self, connection: sa.Connection, run_ids: Collection[str]) -> None:
        """Let nobody else write until the transaction ends; raises StoreError if one of the runs goes on."""

    def hold(self, connection: sa.Connection, run_id: str) -> bool:
        """Reserve a run for this process until its store is closed; returns False if another has it."""

    def disk_bytes(self) -> int:
        """Return the bytes that the store takes on this machine's disk."""

    def bytes_without(self, run_ids: Collection[str]) -> int:
        """Return the bytes that it would take without these runs."""

    def compact(self) -> None:
        """Give the room of deleted rows back to the disk."""


@contextmanager
def explained(database: Database) -> Iterator[None]:
    """Raise StoreError for whatever goes wrong with a store's content in the block."""
    try:
        yield
    except (Damaged, sa.exc.NoResultFound, sa.exc.MultipleResultsFound) as error:
        raise database.unreadable(f"damaged: {str(error)[:MAX_DETAIL]}") from None
    except (sqlite3.Error, sa.exc.StatementError) as error:
        original = getattr(error, "orig", None) or error
        if isinstance(original, Damaged):
            raise StoreError(f"{database.name}: cannot keep {str(original)[:MAX_DETAIL]}") from None
        raise database.explain(original) from None


def insert(connection: sa.Connection, table: sa.Table) -> Any:
    """Return an insert that can say what to do with a row whose key is there: both dialects have it alike."""
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    return dialect.insert(table)


def replace(connection: sa.Connection, table: sa.Table) -> Any:
    """Return an insert that takes the place of a row of the same key."""
    statement = insert(connection, table)
    keys = [column.name for column in table.primary_key]
    others = {
        column.name: statement.excluded[column.name] for column in table.columns if column.name not in keys
    }
    return statement.on_conflict_do_update(index_elements=keys, set_=others)
