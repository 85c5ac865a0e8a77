"""A store on a PostgreSQL server: many runners write at once, and a run belongs to one of them.

A runner holds its run by an advisory lock, which the server releases when the runner's connection ends,
however it ends. So the store keeps one connection, writes through it, and takes the lock again when it has to
reconnect.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Collection
from typing import Any

import sqlalchemy as sa

from bench.errors import StoreError
from bench.results.store.address import parse_address, without_password
from bench.results.store.columns import Damaged
from bench.results.store.database import MAX_DETAIL, NoStore, explained
from bench.results.store.schema import SCHEMA, SCHEMA_VERSION, UPGRADES, meta

SCHEMA_NAME = "bench"
"""The schema of the database that the tables are in: a database may have others' tables of the same names."""

_SPACE = 0x62656E63
"""The first half of locks of the whole store; those of runs are of one number, which is another space."""

_CREATING, _ORDER, _REMOVAL = 1, 2, 3
_HELD_S = 5.0

# A machine that vanishes is noticed within a minute, by both ends. The user's URL comes first.
_PATIENCE = {
    "connect_timeout": "10",
    "keepalives_idle": "30",
    "keepalives_interval": "10",
    "keepalives_count": "3",
    "tcp_user_timeout": "60000",
}
_SETTINGS = {
    "search_path": SCHEMA_NAME,
    "tcp_keepalives_idle": 30,
    "tcp_keepalives_interval": 10,
    "tcp_keepalives_count": 3,
}

# By the beginning of the code that PostgreSQL gives an error (appendix A of its manual).
_LOST = ("08", "57P")
_FAULTS = {
    "28": "the server refuses this user",
    "3D": "the server has no such database",
    "25006": "it is read-only; write to the primary server",
    "42501": "this user may not do that; ask for the rights of the store's owner",
    "53": "the server lacks space, memory or connections; what was entered is safe",
    "40": "another process is writing the same rows; run the same command again",
    "55": "another process is writing the same rows; run the same command again",
    "57": "the server ended the query; run the same command again",
}


class PostgresServer:
    """A store on a server. `held` are the runs that this process goes on with."""

    def __init__(self, address: str) -> None:
        self._name = without_password(address)
        self.held: set[str] = set()
        self.engine = _connect(parse_address(address))
        sa.event.listen(self.engine, "connect", self._connected)

    @property
    def name(self) -> str:
        return self._name

    def unreadable(self, fault: str) -> StoreError:
        return StoreError(f"{self.name}: not a readable store ({fault}); restore it from a backup")

    def explain(self, error: BaseException) -> StoreError:
        state = str(getattr(error, "sqlstate", None) or "")
        detail = _first_line(error)
        if state.startswith(_LOST) or (not state and _is_of_the_connection(error)):
            run = f"run {', '.join(sorted(self.held))}" if self.held else "an unfinished run"
            advice = f"what was entered is safe, and the same command resumes {run}"
            return StoreError(f"{self.name}: no connection ({detail}); {advice}")
        for beginning, text in _FAULTS.items():
            if state.startswith(beginning):
                return StoreError(f"{self.name}: {text} ({detail})")
        if state.startswith("42"):  # tables or columns are missing
            return self.unreadable(f"damaged: {detail}")
        return StoreError(f"{self.name}: {detail}")

    def add_beside(self, connection: sa.Connection) -> None:
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock_shared(_SPACE, _REMOVAL)))

    def order_alone(self, connection: sa.Connection) -> None:
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_SPACE, _ORDER)))

    def remove_alone(self, connection: sa.Connection, run_ids: Collection[str]) -> None:
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_SPACE, _REMOVAL)))
        for run_id in run_ids:
            if not connection.scalar(sa.select(sa.func.pg_try_advisory_xact_lock(_number_of(run_id)))):
                raise StoreError(f"run {run_id} is in progress; wait until it ends")

    def hold(self, connection: sa.Connection, run_id: str) -> bool:
        if not connection.scalar(sa.select(sa.func.pg_try_advisory_lock(_number_of(run_id)))):
            return False
        self.held.add(run_id)
        return True

    def disk_bytes(self) -> int:
        return 0

    def bytes_without(self, run_ids: Collection[str]) -> int:
        return 0

    def compact(self) -> None:
        """Do nothing: the server uses the room of deleted rows again."""

    def prepare(self, *, create: bool) -> None:
        """Create the tables, or upgrade them; raises NoStore if there are none and `create` is false."""
        with explained(self), self.engine.connect() as connection:
            version = self._version(connection)
        if version is None and not create:
            raise NoStore(f"{self.name}: no results yet; `bench run --matrix quick --store ...` creates some")
        if version == SCHEMA_VERSION:
            return
        with explained(self), self.engine.connect() as connection:
            with connection.begin():
                connection.execute(sa.select(sa.func.pg_advisory_lock(_SPACE, _CREATING)))
            # A new transaction: the one that waited may not see tables that another runner made meanwhile.
            with connection.begin():
                self._make(connection, self._version(connection))
            with connection.begin():
                connection.execute(sa.select(sa.func.pg_advisory_unlock(_SPACE, _CREATING)))

    def _make(self, connection: sa.Connection, version: int | None) -> None:
        if version is None:
            encoding = connection.exec_driver_sql("SHOW server_encoding").scalar()
            if encoding != "UTF8":
                raise StoreError(
                    f"{self.name}: the database must be created with ENCODING 'UTF8', got {encoding}"
                )
            connection.exec_driver_sql(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA_NAME}")
            SCHEMA.create_all(connection)
            connection.execute(meta.insert().values(key="schema_version", value=str(SCHEMA_VERSION)))
            return
        for old in range(version, SCHEMA_VERSION):
            for statement in UPGRADES[old]:
                connection.exec_driver_sql(statement)
        connection.execute(
            meta.update().where(meta.c.key == "schema_version").values(value=str(SCHEMA_VERSION))
        )

    def _version(self, connection: sa.Connection) -> int | None:
        """Return the version of the tables, None where there are none."""
        if connection.scalar(sa.select(sa.func.to_regclass(meta.name))) is None:
            return None
        text = connection.scalar(sa.select(meta.c.value).where(meta.c.key == "schema_version"))
        if text is None or not text.isdecimal() or len(text) > 6:
            raise Damaged("meta has no version of the tables")
        if int(text) > SCHEMA_VERSION:
            raise StoreError(
                f"{self.name}: written by a newer version (schema {text}, this one reads {SCHEMA_VERSION}); "
                "update dl-efficiency-bench"
            )
        return int(text)

    def _connected(self, connection: Any, _: Any) -> None:
        """Set up a new connection, and take the locks of held runs again."""
        with connection.cursor() as cursor:
            for setting, value in _SETTINGS.items():
                cursor.execute(f"SET {setting} = {value}")
            for run_id in self.held:
                deadline = time.monotonic() + _HELD_S
                while not cursor.execute(f"SELECT pg_try_advisory_lock({_number_of(run_id)})").fetchone()[0]:
                    if time.monotonic() > deadline:
                        raise StoreError(f"run {run_id}: another runner has resumed it; this one stops")
                    time.sleep(0.1)
        connection.commit()


def open_server(address: str, *, create: bool) -> PostgresServer:
    """Open the store on a server; raises StoreError where it cannot be reached, or is no store."""
    server = PostgresServer(address)
    try:
        server.prepare(create=create)
    except BaseException:
        server.engine.dispose()
        raise
    return server


def _connect(url: sa.URL) -> sa.Engine:
    try:
        import psycopg  # noqa: F401
    except ImportError as error:
        install = "pip install 'dl-efficiency-bench[postgresql]'"
        raise StoreError(f"--store: PostgreSQL requires psycopg: {install} ({error})") from None
    settings = {name: value for name, value in _PATIENCE.items() if name not in url.query}
    settings.setdefault("client_encoding", "utf8")
    # One connection, which has the locks; whoever asked for a second one meanwhile would wait for ever.
    return sa.create_engine(url, pool_size=1, max_overflow=0, pool_timeout=30, connect_args=settings)


def _number_of(run_id: str) -> int:
    """Return the number of a run's lock."""
    return int.from_bytes(hashlib.sha256(run_id.encode()).digest()[:8], "big", signed=True)


def _is_of_the_connection(error: BaseException) -> bool:
    import psycopg

    return isinstance(error, psycopg.OperationalError | psycopg.InterfaceError)


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines or [type(error).__name__])[0][:MAX_DETAIL]
