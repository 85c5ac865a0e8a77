"""Compares a run's prediction with what it took."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from bench.costs.rates import disk_bytes
from bench.costs.timeline import HANDOVER, length_s, union
from bench.results.store import StageRow, Store

if TYPE_CHECKING:
    import pandas as pd

OVERHEAD = "servers, store, report"
WHOLE = "whole run, elapsed"
FROM_START = "whole run, all executions"


@dataclass(frozen=True)
class Compared:
    """One part of a run. `stage_errors` are |predicted - taken| / taken of its stages' seconds.

    Seconds of a kind are those of its launches added up, whatever ran side by side; the whole is clocked.
    """

    part: str
    stages: int | None
    predicted_s: float
    taken_s: float | None
    predicted_bytes: int
    taken_bytes: int | None
    stage_errors: tuple[float, ...] = ()

    @property
    def median_error(self) -> float | None:
        return median(self.stage_errors) if self.stage_errors else None


@dataclass(frozen=True)
class Comparison:
    """A run's prediction against what came of it. `bound_s` of it was an upper bound of trainings.

    It covers the run's latest execution: `ended` stages were finished by an earlier one, `reused` ones had
    their artifacts from other runs, and neither is in the rows. `from_start` has all executions of a run that
    was resumed, against what its first one predicted; None of a run made at once, or not whole yet.
    """

    rows: tuple[Compared, ...]
    stages: int
    ended: int
    reused: int
    bound_s: float
    sources: Mapping[str, int]
    from_start: Compared | None = None

    @property
    def median_error(self) -> float | None:
        """Return the median over stages of |predicted - taken| / taken, None where no stage ended well."""
        errors = [error for row in self.rows for error in row.stage_errors]
        return median(errors) if errors else None

    @property
    def compared_stages(self) -> int:
        return sum(len(row.stage_errors) for row in self.rows)


@dataclass(frozen=True)
class _Taken:
    """What the launches of one stage took in the latest execution."""

    wall_s: float
    ok: bool


def compare(store: Store, run_id: str, launches: pd.DataFrame | None = None) -> Comparison | None:
    """Compare a run's prediction with its launches; None if it made no prediction.

    `launches` are those of the store, where they are read already.
    """
    predicted = store.run(run_id)["request"].get("prediction")
    if not predicted:
        return None
    stages = store.stages(run_id)
    if len(predicted["stages"]) > len(stages) or "before" not in predicted:
        raise store.damaged("runs.request: prediction must be of the run's own stages")
    if launches is None:
        launches = store.launches(run_id)
    every = launches
    launches = launches.iloc[predicted["before"]["launches"] :]
    own = launches[~launches["reused"].astype(bool)]
    taken = {
        str(key): _Taken(float(group["wall_s"].sum()), bool((group["state"] == "ok").all()))
        for key, group in own.groupby("stage_key", sort=False)
    }
    sizes = store.artifact_bytes(run_id, taken)
    rows = _kind_rows(predicted, stages, taken, sizes)
    before, every_overhead = predicted["before"]["overheads"], store.overheads(run_id)
    overheads = {
        part: seconds - before.get(part, 0.0)
        for part, seconds in every_overhead.items()
        if seconds > before.get(part, 0.0)
    }
    overhead = _overhead_row(predicted, overheads, store.results / run_id)
    whole = _whole_row(predicted, [*rows, overhead], overheads, _bodies_s(own))
    return Comparison(
        (*rows, overhead, whole),
        len(stages),
        predicted["ended"],
        predicted["reused"],
        predicted["bound_s"],
        predicted["sources"],
        _from_start(predicted, whole, every_overhead, every),
    )


def _bodies_s(launches: pd.DataFrame) -> float:
    """Return the seconds by the clock in which some of these launches worked."""
    starts, bodies = launches["start_s"], launches["body_s"]
    return length_s(union([(start, start + body) for start, body in zip(starts, bodies, strict=True)]))


def _from_start(
    predicted: Mapping[str, Any], whole: Compared, overheads: Mapping[str, float], every: pd.DataFrame
) -> Compared | None:
    """Compare all executions of a run that was resumed with what was predicted at its very start.

    What an execution that was cut off had begun is on no record, nor is the time in between.
    """
    if "first_wall_s" not in predicted or whole.taken_s is None:
        return None
    taken_s = sum(overheads.values()) + _bodies_s(every[~every["reused"].astype(bool)])
    return Compared(FROM_START, None, predicted["first_wall_s"], taken_s, 0, None)


def _whole_row(
    predicted: Mapping[str, Any], rows: list[Compared], overheads: Mapping[str, float], bodies_s: float
) -> Compared:
    """Compare the run by the clock; unknown what it took until every kind of stage has been launched."""
    complete = bool(overheads) and all(row.taken_s is not None for row in rows)
    to_come_s = sum(seconds for part, seconds in predicted["overheads"].items() if part not in overheads)
    return Compared(
        WHOLE,
        None,
        predicted["wall_s"] - to_come_s,
        sum(overheads.values()) + bodies_s if complete else None,
        sum(row.predicted_bytes for row in rows),
        sum(row.taken_bytes or 0 for row in rows) if complete else None,
    )


def _kind_rows(
    predicted: Mapping[str, Any],
    stages: list[StageRow],
    taken: Mapping[str, _Taken],
    sizes: Mapping[str, int],
) -> list[Compared]:
    of_kind: dict[str, list[tuple[StageRow, float, int]]] = defaultdict(list)
    # Stages that a run came to need on its way are the last, and were not predicted.
    known = stages[: len(predicted["stages"])]
    for stage, place, seconds in zip(known, predicted["stages"], predicted["seconds"], strict=True):
        if place is not None:
            of_kind[stage.kind].append((stage, seconds, predicted["costs"][place]["artifact_bytes"] or 0))
    rows = []
    for kind, entries in of_kind.items():
        ended = [(seconds, taken[stage.key]) for stage, seconds, _ in entries if stage.key in taken]
        rows.append(
            Compared(
                kind,
                len(entries),
                sum(seconds for _, seconds, _ in entries),
                sum(found.wall_s for _, found in ended) if ended else None,
                sum(size for _, _, size in entries),
                sum(sizes.get(stage.key, 0) for stage, _, _ in entries) if ended else None,
                tuple(
                    abs(seconds - found.wall_s) / found.wall_s
                    for seconds, found in ended
                    if found.ok and found.wall_s > 0
                ),
            )
        )
    return rows


def _overhead_row(predicted: Mapping[str, Any], overheads: Mapping[str, float], report: Path) -> Compared:
    """Compare what belongs to no stage; a report that is only being written has no size and time yet."""
    grown = dict(predicted.get("grown", {}))
    if report.is_dir():
        grown["report"] = disk_bytes(report)
    seconds = {part: overheads[part] for part in overheads if part != HANDOVER}
    return Compared(
        OVERHEAD,
        None,
        sum(predicted["overheads"].get(part, 0.0) for part in seconds),
        sum(seconds.values()) if seconds else None,
        sum(predicted["disk"].get(name, 0) for name in grown),
        sum(grown.values()) if grown else None,
    )
