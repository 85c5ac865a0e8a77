"""What a run's launches found, as frames: each row of the store is read, and checked, once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import sqlalchemy as sa

from bench.metrics import metric_named
from bench.results.store import schema
from bench.results.store.bulk import Values, read_columns
from bench.results.store.columns import Damaged
from bench.results.store.disturbed import disturbances_among
from bench.results.store.measured import read_measurements
from bench.results.store.unreadable import UnreadableRecord, as_launch, unreadable_records

if TYPE_CHECKING:
    import pandas as pd

_COLUMNS = (
    *("stage_key", "kind", "label", "timed", "round", "state", "environment_id"),
    *(column.name for column in schema.measurements.columns),
    "disturbed",
)


Stages = Sequence[tuple[str, str, str, bool]]
"""Key, kind and label of each stage, and whether it is timed."""

_CATEGORIES = ("stage_key", "kind", "label", "state", "metric", "qualifier", "disturbed")
"""Columns of measurements that are categories: few values, over and over."""


@dataclass(frozen=True)
class Recorded:
    """The frames of `Store.launches` and `Store.measurements`, and the launches that cannot be read.

    Texts that repeat are categories in `measurements`, of which a large frame is made and searched sooner.
    """

    launches: pd.DataFrame
    measurements: pd.DataFrame
    unreadable: tuple[UnreadableRecord, ...]


def recorded(
    connection: sa.Connection, run_id: str, stage_key: str = "", stages: Stages | None = None
) -> Recorded:
    """Read what a run's launches found, the measurements of one stage alone where it is given.

    `stages` are those of the run, if they are read. Raises Damaged where half of the launches or more cannot
    be read.
    """
    try:
        return _recorded(connection, run_id, stage_key, (), stages)
    except Damaged:  # of one of them; which ones it are takes longer to find
        return _recorded(connection, run_id, stage_key, unreadable_records(connection, run_id), stages)


def _recorded(
    connection: sa.Connection,
    run_id: str,
    stage_key: str,
    unreadable: Sequence[UnreadableRecord],
    stages: Stages | None,
) -> Recorded:
    launches = _launches(connection, run_id, unreadable)
    without = [record.launch_id for record in unreadable]
    own = launches[~launches["id"].isin(without)]
    if stage_key:
        own = own[own["stage_key"] == stage_key]
    which = _of_launches(run_id, own, without, stage_key)
    of_stages = _stages(connection, run_id) if stages is None else stages
    measurements = _measurements(connection, which, own, of_stages)
    return Recorded(launches, measurements, tuple(unreadable))


def _launches(connection: sa.Connection, run_id: str, unreadable: Sequence[UnreadableRecord]) -> pd.DataFrame:
    import pandas as pd

    launches = schema.launches
    without = [record.launch_id for record in unreadable]
    query = launches.select().where(launches.c.run_id == run_id, launches.c.id.not_in(without))
    frame = _frame(read_columns(connection, query.order_by(launches.c.id)))
    good = frame[frame["state"] == "ok"]
    judged = zip(*(good[name].tolist() for name in ("id", "dynamic", "environment_id")), strict=True)
    found = disturbances_among(connection, list(judged))
    if unreadable:
        rows = pd.DataFrame([as_launch(record, run_id) for record in unreadable])
        frame = pd.concat([frame, rows], ignore_index=True).sort_values("id", ignore_index=True)
    disturbed = [found.get(id_, "") for id_ in frame["id"].tolist()]
    return frame.assign(disturbed=pd.Series(disturbed, index=frame.index, dtype=object))


def _frame(columns: Mapping[str, Values]) -> pd.DataFrame:
    """Return columns as a frame; texts and samples stay objects, of which most rows share a few."""
    import pandas as pd

    objects = {
        name
        for name, own in columns.items()
        if not isinstance(own, pd.Categorical)
        and any(isinstance(value, str | np.ndarray) for value in own[:1])
    }
    return pd.DataFrame(
        {name: pd.Series(own, dtype=object if name in objects else None) for name, own in columns.items()}
    )


def _stages(connection: sa.Connection, run_id: str) -> Stages:
    table = schema.stages.c
    query = sa.select(table.key, table.kind, table.label, table.timed).where(table.run_id == run_id)
    return list(zip(*read_columns(connection, query).values(), strict=True))


def _measurements(
    connection: sa.Connection, which: sa.ColumnElement[bool], own: pd.DataFrame, of_stages: Stages
) -> pd.DataFrame:
    """Return the measurements of the `own` launches, with what is known of these and their stages."""
    import pandas as pd

    found = _frame(read_measurements(connection, which))
    columns = enumerate(("stage_key", "kind", "label", "timed"))
    stages = _frame({name: [stage[place] for stage in of_stages] for place, name in columns})
    names = ["id", *(name for name in _COLUMNS if name in own)]
    beside = _with_categories(own[names].merge(stages, on="stage_key"))
    places = pd.Index(beside["id"]).get_indexer(found["launch_id"])
    known = places >= 0
    if not known.all():
        found = found[known].reset_index(drop=True)
    beside = beside.take(places[known]).reset_index(drop=True)
    taken = {name: beside[name] for name in _COLUMNS if name not in found}
    frame = found.assign(**taken)[list(_COLUMNS)]
    # No call takes no time, and a ratio to it is no number: such a value is unknown.
    seconds = [name for name in frame["metric"].unique() if metric_named(name).unit == "s"]
    of_nothing = frame["timed"].astype(bool) & frame["metric"].isin(seconds) & (frame["value"] <= 0)
    return frame.assign(value=frame["value"].mask(of_nothing))


def _with_categories(frame: pd.DataFrame) -> pd.DataFrame:
    import pandas as pd

    found = {}
    for name in _CATEGORIES:
        if name in frame:
            places, values = pd.factorize(frame[name])
            found[name] = pd.Categorical.from_codes(places, pd.Index(values, dtype=object))
    return frame.assign(**found)


def without_categories(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a frame with plain texts for its categories, and types as pandas infers them."""
    names = [name for name in _CATEGORIES if name in frame]
    return frame.astype(dict.fromkeys(names, object)).infer_objects()


def _of_launches(
    run_id: str, own: pd.DataFrame, without: Sequence[int], stage_key: str
) -> sa.ColumnElement[bool]:
    """Return which measurements are of the launches that were read, and not of one that came meanwhile."""
    launches = schema.launches.c
    query = sa.select(launches.id).where(launches.run_id == run_id, launches.id.not_in(without))
    query = query.where(launches.id <= int(own["id"].max() if len(own) else 0))
    if stage_key:
        query = query.where(launches.stage_key == stage_key)
    # Not by a join: the index of the measurements has them in the order that is asked for.
    return schema.measurements.c.launch_id.in_(query)
