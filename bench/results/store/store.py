"""The results store, append-only: a SQLite file in the results folder, or a server that many folders share.

Each launch is one transaction with a full sync: a kill at any moment loses at most the launch it interrupted.
The file is in rollback-journal mode: a copy of it between transactions is whole. On a server, each results
folder has an id of its own, so that no folder's runs and artifacts are taken for another's.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from bench.errors import StoreError
from bench.records import Artifact, Result
from bench.results.folder import folder_id, refuse_file
from bench.results.store import cost_history, removal, writing
from bench.results.store.database import Database, NoStore, explained
from bench.results.store.disturbed import disturbances
from bench.results.store.reading import Reading
from bench.results.store.records_of import Launch
from bench.results.store.rows import CellRow, StageRow
from bench.results.store.sqlite import STORE_NAME, open_file

HELD_S = 5.0
"""How long a run of a killed runner may seem to go on: until the server has seen its connection end."""


class Store(Reading):
    """The results of every run under one folder, or of many folders. Writes are the runner's alone.

    Every method that reads or writes raises StoreError where the file is damaged, locked or out of space, and
    where the server refuses or cannot be reached.
    """

    def __init__(self, database: Database, results: Path, folder: str = "", url: str = "") -> None:
        super().__init__(database, folder)
        self.results = results
        self.url = url

    @classmethod
    def open(cls, results: Path, url: str = "", *, create: bool = True) -> Store:
        """Open the store in `results`, or on the server of a `postgresql://` URL; upgrade an older schema.

        Raises NoStore where there is none and none is to be created, StoreError on anything else.
        """
        refuse_file(results)
        if not url:
            return cls(open_file(results, create=create), results)
        from bench.results.store.postgresql import open_server

        server = open_server(url, create=create)
        return cls(server, results, folder_id(results, create=create), server.name)

    @classmethod
    def find(cls, results: Path, url: str = "") -> Store | None:
        """Open the store to read it; returns None where there is none yet."""
        try:
            return cls.open(results, url, create=False)
        except NoStore:
            return None

    @property
    def path(self) -> Path:
        """The file of a store that has one."""
        return self.results / STORE_NAME

    def close(self) -> None:
        """Close the store, and give up the runs that it holds."""
        self._engine.dispose()

    # Writing

    def start_run(
        self,
        run_id: str,
        identity: str,
        matrix: str,
        command: str,
        request: Mapping[str, Any],
        stages: Sequence[StageRow],
        cells: Sequence[CellRow],
        *,
        host: str = "",
        started_s: float | None = None,
    ) -> str:
        """Enter a run with its whole plan, and hold it; returns its id, longer where that was taken.

        It began now, or at `started_s` (Unix time).
        """
        began_s = time.time() if started_s is None else started_s
        about = (identity, matrix, command, request)
        with self._new_run(run_id, about, stages, cells, host, began_s) as (connection, run_id):
            self._database.hold(connection, run_id)
        return run_id

    @contextmanager
    def _new_run(
        self,
        run_id: str,
        about: tuple[str, str, str, Mapping[str, Any]],
        stages: Sequence[StageRow],
        cells: Sequence[CellRow],
        host: str,
        started_s: float,
    ) -> Iterator[tuple[sa.Connection, str]]:
        """Enter a run with its whole plan; yields the transaction, for the rest, and the run's id.

        `about` it are its identity, matrix, command and request.
        """
        with self._transaction() as connection:
            self._database.order_alone(connection)
            entered = writing.enter_run(
                connection, run_id, *about, folder=self.folder, host=host, started_s=started_s
            )
            writing.enter_plan(connection, entered, stages, cells)
            yield connection, entered

    def hold_run(self, run_id: str) -> None:
        """Reserve a run until the store is closed; raises StoreError where another runner has it."""
        if not self.try_hold(run_id):
            host = self.run(run_id)["host"] or "another machine"
            raise StoreError(f"run {run_id} is in progress on {host}; wait until it ends, or use --fresh")

    def try_hold(self, run_id: str) -> bool:
        """Reserve a run until the store is closed; returns whether no other runner has it."""
        deadline = time.monotonic() + HELD_S
        while True:
            with self._transaction() as connection:
                if self._database.hold(connection, run_id):
                    return True
            if time.monotonic() > deadline:
                return False
            time.sleep(0.1)

    def change_plan(self, run_id: str, stages: Sequence[StageRow], cells: Sequence[CellRow]) -> None:
        """Enter stages that a run has come to need, or has changed, and which stages its cells have now."""
        with self._transaction() as connection:
            writing.change_plan(connection, run_id, stages, cells)

    def finish_run(self, run_id: str) -> None:
        """Mark a run as finished now."""
        with self._transaction() as connection:
            writing.finish_run(connection, run_id, time.time())

    def add_launch(
        self, run_id: str, stage: StageRow, round_: int, result: Result, *, reused: bool = False
    ) -> str:
        """Enter one launch with all that it found, and its artifact, in one transaction.

        Returns what disturbed it, as far as the run's launches up to now tell.
        """
        with self._transaction() as connection:
            self._database.add_beside(connection)
            launch_id = writing.enter_launch(connection, run_id, stage.key, round_, result, reused=reused)
            if result.artifact:
                writing.enter_artifact(connection, self.folder, stage.key, stage.kind, result.artifact)
            if not stage.timed:
                return ""
            return disturbances(connection, run_id, self._unread(connection, run_id)).get(launch_id, "")

    def add_run(
        self,
        run_id: str,
        identity: str,
        matrix: str,
        command: str,
        request: Mapping[str, Any],
        stages: Sequence[StageRow],
        cells: Sequence[CellRow],
        launches: Iterable[Launch],
        artifacts: Iterable[tuple[StageRow, Artifact]] = (),
        overheads: Mapping[str, float] | None = None,
        *,
        started_s: float | None = None,
    ) -> str:
        """Enter a run that has ended, whole, in one transaction; returns its id, longer where that was taken.

        Launches are under the keys of `stages`, and `artifacts` lie in the results folder. It began now, or
        at `started_s` (Unix time).
        """
        now_s = time.time()
        began_s = now_s if started_s is None else started_s
        about = (identity, matrix, command, request)
        with self._new_run(run_id, about, stages, cells, "", began_s) as (connection, run_id):
            for launch in launches:
                of = (launch.stage_key, launch.round, launch.result)
                writing.enter_launch(connection, run_id, *of, reused=launch.reused)
            for stage, entry in artifacts:
                writing.enter_artifact(connection, self.folder, stage.key, stage.kind, entry)
            for part, seconds in (overheads or {}).items():
                writing.enter_overhead(connection, run_id, part, seconds)
            writing.finish_run(connection, run_id, now_s)
        return run_id

    def add_overhead(self, run_id: str, part: str, seconds: float) -> None:
        """Enter seconds that the run spent outside the stages' own bodies, by what they went to."""
        with self._transaction() as connection:
            writing.enter_overhead(connection, run_id, part, seconds)

    def keep_prediction(self, run_id: str, prediction: Mapping[str, Any]) -> None:
        """Keep what a run predicted of itself; what an earlier execution of it predicted goes."""
        with self._transaction() as connection:
            cost_history.keep_prediction(connection, run_id, prediction)

    # Space

    def disk_bytes(self) -> int:
        """Return the bytes that the store takes on this machine's disk: none of a server."""
        return self._database.disk_bytes()

    def bytes_without(self, run_ids: Collection[str]) -> int:
        """Return the bytes that it would take without these runs."""
        with explained(self._database):
            return self._database.bytes_without(run_ids)

    def remove_runs(self, run_ids: Collection[str]) -> None:
        """Delete runs of the folder with every row that only they need, in one transaction.

        A file keeps its size. Raises StoreError where one of them is in progress.
        """
        with self._transaction() as connection:
            self._database.remove_alone(connection, run_ids)
            removal.remove_runs(connection, run_ids, self.folder)

    def compact(self) -> None:
        """Give the room of deleted rows back to the disk; raises StoreError where it lacks the space to."""
        with explained(self._database):
            self._database.compact()

    @contextmanager
    def _transaction(self) -> Iterator[sa.Connection]:
        with explained(self._database), self._engine.begin() as connection:
            yield connection
