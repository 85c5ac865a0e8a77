"""Reads runs from the store's tables: the same queries of SQLite and PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from bench.analysis.comparable import Seen, how_decisive
from bench.errors import StoreError
from bench.records import PlannedRequest, read_as
from bench.results.store import cost_history, over_runs, schema, so_far
from bench.results.store.bulk import read_columns
from bench.results.store.columns import Damaged
from bench.results.store.database import Database, explained
from bench.results.store.disturbed import disturbances
from bench.results.store.documents import ADDED_AXES
from bench.results.store.recorded import Recorded, recorded, without_categories
from bench.results.store.records_of import Launch, launches_of
from bench.results.store.rows import CellRow, LaunchCount, StageRow
from bench.results.store.unreadable import UnreadableRecord, unreadable_records
from techniques.registry import first_few, nearest

if TYPE_CHECKING:
    import pandas as pd


class Reading:
    """The runs of a store as they are read. `folder` is the id of the results folder, see `Store`."""

    def __init__(self, database: Database, folder: str) -> None:
        self._database = database
        self._engine = database.engine
        self.folder = folder
        self._left_out: dict[str, tuple[int, ...]] = {}

    @property
    def name(self) -> str:
        """The store's name in messages: its file, or its URL without the password."""
        return self._database.name

    def damaged(self, fault: str) -> StoreError:
        """Return the error of a store whose parts do not fit each other."""
        return self._database.unreadable(f"damaged: {fault}")

    @contextmanager
    def _reading(self) -> Iterator[sa.Connection]:
        with explained(self._database), self._engine.connect() as connection:
            yield connection

    def unfinished_run(self, identity: str) -> str | None:
        """Return the folder's latest run of this identity that did not end, or None."""
        runs = schema.runs.c
        query = (
            sa.select(runs.id)
            .where(runs.folder == self.folder, runs.identity == identity, runs.state == "running")
            .order_by(runs.number.desc())
            .limit(1)
        )
        with self._reading() as connection:
            return connection.execute(query).scalar()

    def find_run(self, run: str | None) -> str:
        """Return the id of the run that `run` begins; raises StoreError where none is.

        Without `run` it is the latest of the folder, and where the folder has none, the latest of all.
        """
        runs = schema.runs.c
        query = sa.select(runs.id, runs.folder).order_by(runs.number)
        with self._reading() as connection:
            found = connection.execute(query).all()
        ids = [row.id for row in found]
        if not ids:
            raise StoreError(f"{self.name}: no run yet; `bench run --matrix quick` creates one")
        if run is None:
            return str(([row.id for row in found if row.folder == self.folder] or ids)[-1])
        matching = [id_ for id_ in ids if id_ == run] or [id_ for id_ in ids if id_.startswith(run)]
        if not matching:
            raise StoreError(f"no run {run!r}{nearest(run, ids)}")
        if len(matching) > 1:
            raise StoreError(f"{run!r} is ambiguous; runs that begin with it: {first_few(matching)}")
        return str(matching[0])

    def run(self, run_id: str) -> dict[str, Any]:
        """Return a run's row as a dictionary."""
        with self._reading() as connection:
            return dict(
                connection.execute(schema.runs.select().where(schema.runs.c.id == run_id)).mappings().one()
            )

    def stages(self, run_id: str) -> list[StageRow]:
        """Return a run's stages in the order they were planned."""
        query = (
            schema.stages.select().where(schema.stages.c.run_id == run_id).order_by(schema.stages.c.position)
        )
        with self._reading() as connection:
            found = read_columns(connection, query)
        # Equal requests are one object, and most stages share a few.
        requests = {id(request): _planned(request) for request in _distinct(found["request"])}
        columns = (found[name] for name in ("key", "kind", "label", "timed", "parents", "request"))
        return [
            StageRow(key, kind, label, timed, tuple(parents), requests[id(request)])
            for key, kind, label, timed, parents, request in zip(*columns, strict=True)
        ]

    def cells(self, run_id: str, stages: Iterable[StageRow] | None = None) -> list[CellRow]:
        """Return a run's cells in the order of its matrix; `stages` are those of the run, if they are read.

        Raises StoreError where a cell names a stage that the run does not have.
        """
        query = schema.cells.select().where(schema.cells.c.run_id == run_id).order_by(schema.cells.c.position)
        keys = sa.select(schema.stages.c.key).where(schema.stages.c.run_id == run_id)
        with self._reading() as connection:
            read = read_columns(connection, keys)["key"] if stages is None else ()
            known = {*read, *(stage.key for stage in stages or ())}
            found = read_columns(connection, query)
            columns = (found[name] for name in ("name", "axes", "stages", "skipped"))
            cells = [
                CellRow(name, _with_all_axes(axes), stages, skipped)
                for name, axes, stages, skipped in zip(*columns, strict=True)
            ]
            for cell in cells:
                if not cell.skipped and not known.issuperset(cell.stages.values()):
                    raise Damaged(f"cells.stages of {cell.name[:60]!r} must be stages of the run")
        return cells

    def runs(self) -> pd.DataFrame:
        """Return one row for each run, in the order they were entered: the clock may have been set back."""
        return self._frame(schema.runs.select().order_by(schema.runs.c.number))

    def launches(self, run_id: str) -> pd.DataFrame:
        """Return one row for each launch of a run, in the order they ended, and what `disturbed` it.

        One whose record cannot be read is a failed launch that says why.
        """
        return self.recorded(run_id).launches.infer_objects()

    def measurements(self, run_id: str) -> pd.DataFrame:
        """Return a run's measurements, long form: one row for each launch × metric × qualifier.

        Columns: stage_key, kind, label, round, state, launch_id, environment_id, metric, qualifier, value,
        low, high, n, method, reason, samples (float64 array or None), disturbed (by what; empty: by nothing).
        """
        return without_categories(self.recorded(run_id).measurements)

    def stage_measurements(self, run_id: str, stage_key: str) -> pd.DataFrame:
        """Return those rows of `measurements` that are of one stage: little of a long run is read."""
        with self._reading() as connection:
            return without_categories(recorded(connection, run_id, stage_key).measurements)

    def recorded(self, run_id: str, stages: Iterable[StageRow] | None = None) -> Recorded:
        """Return what a run's launches found: the frames `launches` and `measurements` at once.

        Their texts are objects and categories, which large frames are quicker with. `stages` are those of the
        run, if they are read.
        """
        known = None if stages is None else [(each.key, each.kind, each.label, each.timed) for each in stages]
        with self._reading() as connection:
            return recorded(connection, run_id, stages=known)

    def runs_of_cell(self, name: str) -> dict[str, Mapping[str, str]]:
        """Return the stages' keys by kind of the cell of this name, by the id of each run, oldest first."""
        with self._reading() as connection:
            return over_runs.runs_of_cell(connection, name)

    def runs_of_stage(self, kind: str, label: str) -> dict[str, str]:
        """Return the key of the stage of this kind and label, by the id of each run, oldest first."""
        with self._reading() as connection:
            return over_runs.runs_of_stage(connection, kind, label)

    def stages_beginning(self, key: str) -> list[tuple[str, str]]:
        """Return (kind, label) of the stages of all runs whose key begins so, each once."""
        with self._reading() as connection:
            return over_runs.stages_beginning(connection, key)

    def cell_counts(self) -> dict[str, int]:
        """Return how many runs have each cell, most first; what was skipped does not count."""
        with self._reading() as connection:
            return over_runs.cell_counts(connection)

    def unreadable_records(self, run_id: str) -> list[UnreadableRecord]:
        """Return the launches of a run whose record cannot be read, each with the reason.

        Raises StoreError where half of them or more cannot.
        """
        with self._reading() as connection:
            return unreadable_records(connection, run_id)

    def launch_records(self, run_id: str) -> list[Launch]:
        """Return the launches of a run as they were entered, but those whose record cannot be read."""
        with self._reading() as connection:
            return list(launches_of(connection, self._readable(connection, run_id)))

    def launch_results(self, run_id: str) -> list[tuple[str, int, str]]:
        """Return (stage key, round, state) of each launch, oldest first: what a resumed run needs."""
        with self._reading() as connection:
            return so_far.launch_results(connection, self._readable(connection, run_id))

    def reasons(self, run_id: str) -> dict[str, str]:
        """Return why the latest launch of each stage ended as it did, by its key."""
        with self._reading() as connection:
            return so_far.reasons(connection, self._readable(connection, run_id))

    def values_of(self, run_id: str, *metrics: str) -> list[tuple[str, str, str, float | None, str]]:
        """Return (stage key, metric, qualifier, value, method) of each measurement of these metrics."""
        with self._reading() as connection:
            return so_far.values_of(connection, self._readable(connection, run_id), *metrics)

    def modules(self, run_id: str) -> dict[str, str]:
        """Return the digests of the user's modules that took part in a run's launches, by path."""
        with self._reading() as connection:
            return so_far.modules(connection, self._readable(connection, run_id))

    def launch_values(self, run_id: str, stage_key: str, metric: str) -> list[float]:
        """Return a metric's values over one stage's good launches that nothing disturbed, else over all."""
        with self._reading() as connection:
            disturbed = disturbances(connection, run_id, self._unread(connection, run_id))
            readable = self._readable(connection, run_id)
            found = so_far.launch_values(connection, readable, stage_key, metric)
        calm = [value for launch_id, value in found if not disturbed[launch_id]]
        return calm or [value for _, value in found]

    def launch_counts(self, run_id: str) -> dict[str, LaunchCount]:
        """Count the good launches of each stage of a run, by its key."""
        with self._reading() as connection:
            disturbed = disturbances(connection, run_id, self._unread(connection, run_id))
            return so_far.launch_counts(connection, self._readable(connection, run_id), disturbed)

    def cost_history(self) -> cost_history.CostHistory:
        """Return what the folder's recent launches and its latest finished run took, over all its runs."""
        with self._reading() as connection:
            try:
                return cost_history.cost_history(connection, self.folder)
            except Damaged:
                own = sa.select(schema.runs.c.id).where(schema.runs.c.folder == self.folder)
                ids = connection.execute(own).scalars().all()
                without = [launch for run_id in ids for launch in self._unread(connection, run_id)]
                return cost_history.cost_history(connection, self.folder, without)

    def artifact_bytes(self, run_id: str, keys: Iterable[str]) -> dict[str, int]:
        """Return the bytes of those artifacts that are entered, in the folder of that run."""
        with self._reading() as connection:
            return cost_history.artifact_bytes(connection, run_id, keys)

    def making_s(self, keys: Iterable[str]) -> dict[str, float]:
        """Return the seconds that stages worked where they last ran, in any run of the store, by their keys.

        Stages that never did, as their artifacts come from elsewhere, are left out.
        """
        launches = schema.launches.c
        query = (
            sa.select(launches.stage_key, launches.body_s)
            .where(launches.stage_key.in_(sorted(keys)), launches.state == "ok", launches.reused == 0)
            .order_by(launches.id)
        )
        with self._reading() as connection:
            try:
                return {row.stage_key: row.body_s for row in connection.execute(query)}
            except Damaged:
                return {}

    def environments(self, run_id: str) -> dict[str, dict[str, Any]]:
        """Return the environments that a run's launches saw, by id, the most decisive first."""
        launches, environments = schema.launches.c, schema.environments.c
        own = sa.func.sum(sa.case((launches.reused == 0, 1), else_=0))
        used = (
            sa.select(launches.environment_id, sa.func.count(), own)
            .where(launches.run_id == run_id, launches.environment_id.is_not(None))
            .group_by(launches.environment_id)
        )
        with self._reading() as connection:
            counts = {id_: (count, own > 0) for id_, count, own in connection.execute(used)}
            rows = connection.execute(schema.environments.select().where(environments.id.in_(counts)))
            seen = {row.id: Seen(row.content, *counts[row.id]) for row in rows}
        ordered = sorted(seen, key=lambda id_: how_decisive(seen[id_]), reverse=True)
        return {id_: dict(seen[id_].content) for id_ in ordered}

    def environment(self, run_id: str) -> dict[str, Any]:
        """Return the environment that decides what a run is comparable with, empty where none is known."""
        return next(iter(self.environments(run_id).values()), {})

    def overheads(self, run_id: str) -> dict[str, float]:
        """Return the seconds that a run spent outside stage bodies, by part."""
        query = (
            sa.select(schema.overheads.c.part, sa.func.sum(schema.overheads.c.seconds).label("seconds"))
            .where(schema.overheads.c.run_id == run_id)
            .group_by(schema.overheads.c.part)
        )
        with self._reading() as connection:
            return {row.part: row.seconds for row in connection.execute(query)}

    def artifact_sha256(self, key: str) -> str | None:
        """Return the content hash entered for an artifact of the folder, or None where there is none."""
        artifacts = schema.artifacts.c
        query = sa.select(artifacts.sha256).where(artifacts.folder == self.folder, artifacts.key == key)
        with self._reading() as connection:
            return connection.execute(query).scalar()

    def _unread(self, connection: sa.Connection, run_id: str) -> tuple[int, ...]:
        """Return the launches that a run going on does without; what it enters itself can be read."""
        if run_id not in self._left_out:
            found = unreadable_records(connection, run_id)
            self._left_out[run_id] = tuple(record.launch_id for record in found)
        return self._left_out[run_id]

    def _readable(self, connection: sa.Connection, run_id: str) -> sa.ColumnElement[bool]:
        launches = schema.launches.c
        return sa.and_(launches.run_id == run_id, launches.id.not_in(self._unread(connection, run_id)))

    def _frame(self, query: sa.sql.Select[Any]) -> pd.DataFrame:
        """Return rows as a frame."""
        import pandas as pd

        # Not by pandas's own reader: each of its versions asks for another SQLAlchemy.
        with self._reading() as connection:
            done = connection.execute(query)
            rows, columns = done.fetchall(), list(done.keys())
        return pd.DataFrame.from_records(rows, columns=columns, coerce_float=True)


def _with_all_axes(axes: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a cell's axes with those that older stores lack; cells of imported runs have none."""
    return axes and {**axes, **{name: value for name, value in ADDED_AXES.items() if name not in axes}}


def _distinct(values: Iterable[Any]) -> Iterable[Any]:
    """Return each object once."""
    return {id(value): value for value in values}.values()


def _planned(request: Mapping[str, Any]) -> PlannedRequest:
    return read_as(PlannedRequest, request)
