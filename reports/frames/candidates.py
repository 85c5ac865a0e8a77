"""What a store's runs have measured for one workload: each way to serve it, its costs, how sure they are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.analysis.comparable import fingerprint, machine_name
from bench.analysis.statistics import Interval
from bench.errors import BenchError
from bench.formatting import counted
from bench.regression.baseline import refuse_smoke
from bench.results.store import Store
from reports.frames.break_even import BREAK_EVENS, BreakEven, break_even_over
from reports.frames.choices import choice_name
from reports.frames.controls import NONE
from reports.frames.inference import inference_table
from reports.frames.pareto import point_of
from reports.frames.scores import optimizer_scores, well_trained
from reports.frames.tradeoff import over_seeds
from reports.frames.training import training_table
from reports.frames.view import RunView, read, records
from techniques.registry import first_few, nearest

MAX_RUNS = 20
"""Finished runs that are read, the latest ones."""

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Estimate:
    """A value of a metric or a table's column, in its unit, with its 95 % interval where it has one."""

    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Candidate:
    """A way to serve a workload, averaged over seeds.

    `values` are by metric; that of `quality_loss_points` has its interval over seeds, that of `latency_s`
    over launches, whose medians are `launches_s`. `break_even` is against the uncompressed model of the same
    training on the same backend, None of that itself. `trained` says that the training reached its target, or
    where none did, that it came closest.
    """

    run_id: str
    cell: str
    axes: Mapping[str, Any]
    values: Mapping[str, Estimate]
    seeds: int
    launches_s: Sequence[float]
    preliminary: bool
    break_even: BreakEven | None = None
    trained: bool = True

    @property
    def name(self) -> str:
        return choice_name(self.axes)

    @property
    def uncompressed(self) -> bool:
        return bool(self.axes["compression"] == NONE)

    def value(self, metric: str) -> float | None:
        found = self.values.get(metric)
        return None if found is None else found.value


@dataclass(frozen=True)
class Candidates:
    """The candidates of one workload and batch size on one machine, and notes on what was left out."""

    workload: str
    machine: str
    batch_size: int
    runs: tuple[str, ...]
    every: tuple[Candidate, ...]
    notes: tuple[str, ...]


def candidates_of(
    store: Store, workload: str = "", runs: Sequence[str] = (), batch_size: int | None = None
) -> Candidates:
    """Read what runs have measured for a workload: these runs, or the latest that ended on one machine.

    Of a choice that several runs have, the latest counts. Without a batch size it is the smallest that was
    measured. Raises BenchError where no run has the workload, or several do and none is named.
    """
    for run_id in runs:
        refuse_smoke(store, run_id)
    ids = list(runs) or _finished(store)
    if not ids:
        raise BenchError(f"{store.name}: no run has finished; `bench run --matrix quick` makes one")
    workload = _workload(store, ids, workload)
    views, notes = _views(store, ids, workload, chosen=bool(runs))
    rows = [(view, row) for view in views for row in _ranked(view, workload)]
    sizes = sorted({int(row["batch_size"]) for _, row in rows})
    size = _batch_size(sizes, batch_size, workload)
    if len(sizes) > 1 and batch_size is None:
        others = ", ".join(str(other) for other in sizes if other != size)
        notes.append(f"batch size {size}; --batch-size takes {others} too")
    trained = _well_trained(views, workload, notes)
    found: dict[tuple[Any, ...], Candidate] = {}
    for view in views:
        own = [row for other, row in rows if other is view and row["batch_size"] == size]
        for choice, members in _by_choice(own).items():
            found.setdefault(choice, _candidate(view, members, trained))
    return Candidates(
        workload,
        machine_name(views[0].environment),
        size,
        tuple(str(view.run["id"]) for view in views),
        tuple(found.values()),
        tuple(notes),
    )


def _finished(store: Store) -> list[str]:
    """Return the finished runs that measure, the latest first."""
    runs = store.runs()
    ids = [str(id_) for id_ in runs.loc[runs["state"] == "finished", "id"]][::-1]
    return [id_ for id_ in ids if not store.run(id_)["request"].get("smoke")]


def _workload(store: Store, ids: Sequence[str], workload: str) -> str:
    known = dict.fromkeys(
        str(cell.axes["workload"])
        for id_ in ids[:MAX_RUNS]
        for cell in store.cells(id_)
        if cell.axes and "lower" in cell.stages
    )
    if workload and workload not in known:
        raise BenchError(f"--workload: no run has served {workload!r}{nearest(workload, known)}")
    if not workload and len(known) != 1:
        names = first_few(list(known)) if known else "none was served"
        raise BenchError(f"--workload must name one of the runs' workloads: {names}")
    return workload or next(iter(known))


def _views(
    store: Store, ids: Sequence[str], workload: str, *, chosen: bool
) -> tuple[list[RunView], list[str]]:
    """Return the runs that have served the workload, the latest first, and notes on those left out.

    Without a choice of runs only those count that saw the environment of the latest.
    """
    own = [
        id_
        for id_ in ids[: len(ids) if chosen else MAX_RUNS]
        if any(cell.axes.get("workload") == workload for cell in store.cells(id_))
    ]
    notes = []
    if len(ids) > MAX_RUNS and not chosen:
        notes.append(
            f"only the latest {MAX_RUNS} of {counted(len(ids), 'run')} were read; --run names others"
        )
    latest = fingerprint(store.environment(own[0]))
    alike = [id_ for id_ in own if chosen or fingerprint(store.environment(id_)) == latest]
    elsewhere = [id_ for id_ in own if id_ not in alike]
    if elsewhere:
        notes.append(f"left out, of another machine or other libraries than {own[0]}: {first_few(elsewhere)}")
    return [read(store, id_) for id_ in alike], notes


def _batch_size(sizes: Sequence[int], wanted: int | None, workload: str) -> int:
    if not sizes:
        raise BenchError(f"no run has a valid measurement of {workload} being served")
    if wanted is not None and wanted not in sizes:
        known = ", ".join(map(str, sizes))
        raise BenchError(f"--batch-size: {workload} was measured at {known}, not at {wanted}")
    return sizes[0] if wanted is None else wanted


def _ranked(view: RunView, workload: str) -> Iterator[Row]:
    for row in records(inference_table(view)):
        if row["workload"] == workload and row["ranked"] and row["latency_s"]:
            yield row


def _well_trained(views: Sequence[RunView], workload: str, notes: list[str]) -> frozenset[str]:
    """Return the keys of the trainings that are good enough to serve, of all runs; note where none are."""
    scores = [score for view in views for score in optimizer_scores(training_table(view), workload)]
    chosen = well_trained(scores)
    if len(scores) > 1 and not any(score.reached for score in scores):
        notes.append(f"no training reached a target; these are of the best one, {chosen[0].label}")
    return frozenset(str(row["train_key"]) for score in chosen for row in score.rows)


def _by_choice(rows: Sequence[Row]) -> Mapping[tuple[Any, ...], list[Row]]:
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault(point_of(row), []).append(row)
    return groups


def _candidate(view: RunView, rows: Sequence[Row], trained: frozenset[str]) -> Candidate:
    first, even = rows[0], break_even_over(rows)
    values = {name: Estimate(mean) for name in first if (mean := _mean(rows, name)) is not None}
    found = (even.inferences, even.energy_inferences, even.money_inferences)
    for name, known in zip(BREAK_EVENS, found, strict=True):
        values.pop(name, None)
        values |= {} if known is None else {name: Estimate(known)}
    values["latency_s"] = Estimate(values["latency_s"].value, *_widest(rows))
    if "throughput_samples_per_s" in values:
        values["throughput"] = values["throughput_samples_per_s"]
    for name in ("quality", "quality_loss_points"):
        spread = over_seeds((row["seed"], row[name]) for row in rows if row[name] is not None)
        if spread is not None:
            values[name] = _estimate(spread)
    return Candidate(
        str(view.run["id"]),
        str(first["cell"]),
        {
            column: first[column]
            for column in ("optimizer", "compression", "backend", "precision", "batch_size")
        },
        values,
        len({row["seed"] for row in rows}),
        view.launch_values(first["infer_key"], "latency_s"),
        bool(first["latency_preliminary"]),
        None if first["compression"] == NONE else even,
        not trained or any(row["train_key"] in trained for row in rows),
    )


def _widest(rows: Sequence[Row]) -> tuple[float | None, float | None]:
    """Return the bounds of a latency: seeds may differ in structure, and then have timings of their own."""
    lows = [row["latency_low_s"] for row in rows if row["latency_low_s"] is not None]
    highs = [row["latency_high_s"] for row in rows if row["latency_high_s"] is not None]
    return (min(lows), max(highs)) if len(lows) == len(highs) == len(rows) else (None, None)


def _estimate(interval: Interval) -> Estimate:
    return Estimate(interval.value, interval.low, interval.high)


def _mean(rows: Sequence[Row], name: str) -> float | None:
    """Return a column's mean over seeds; None where it holds no numbers."""
    known = [
        row[name] for row in rows if isinstance(row[name], int | float) and not isinstance(row[name], bool)
    ]
    return sum(known) / len(known) if known else None
