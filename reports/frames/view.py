"""One run as the reports see it: read from the store once, looked up by stage, metric and qualifier."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from operator import itemgetter
from typing import TYPE_CHECKING, Any, TypeVar

from bench.analysis.comparable import machine_names
from bench.analysis.statistics import Interval, ratio_interval
from bench.costs.comparison import Comparison, compare
from bench.metrics import METRICS
from reports.frames.readings import Reading, Readings
from reports.frames.status import PENDING, Status, statuses_of

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from bench.results.store import CellRow, StageRow, Store

MadeT = TypeVar("MadeT")

TRAIN_AXES = {
    "workload": "workload",
    "optimizer": "optimizer",
    "schedule": "schedule",
    "clip": "clip",
    "average": "average",
    "train.backend": "train_backend",
    "train.precision": "train_precision",
    "train.batch_size": "train_batch_size",
    "devices": "devices",
    "parallel": "parallel",
    "tuning": "tuning",
    "seed": "seed",
}
"""Axes of `[train]` as cells name them → the column that holds them."""

INFER_AXES = {
    "compression": "compression",
    "backend": "backend",
    "precision": "precision",
    "batch_size": "batch_size",
}

PLACE = ("workload", "backend", "precision", "batch_size")
"""Columns that say where a compression runs, whatever was trained."""

_TRAINING: Callable[[Mapping[str, Any]], tuple[Any, ...]] = itemgetter(*TRAIN_AXES.values())
_PLACE: Callable[[Mapping[str, Any]], tuple[Any, ...]] = itemgetter(*PLACE)

# A cell's stages in the order they depend on each other. `step` times training: a cell can do without it.
CELL_STAGES = ("train", "compress", "lower", "evaluate", "infer")


@dataclass(frozen=True)
class Training:
    """One point of `[train]`: its axes by column, the keys of its stages, its target, its budget of steps.

    `optimizer_settings` are those of its optimizer, defaults filled in. `single_key` is that of the step on
    one device, where it has several.
    """

    axes: Mapping[str, Any]
    key: str
    step_key: str
    target: float | None
    quality_metric: str
    steps: float | None = None
    optimizer_settings: Mapping[str, Any] = field(default_factory=dict)
    single_key: str = ""


@dataclass(frozen=True)
class RunView:
    """Everything stored about one run. Build it by `read`.

    `machines` has the machine of each stage by its key; it is empty where the run has a single one.
    `made_s` has the seconds that untimed stages worked, in this run or in the earlier one that made them.
    `unreadable` has the stage and the reason of each record of which something cannot be read.
    """

    run: Mapping[str, Any]
    cells: tuple[CellRow, ...]
    stages: Mapping[str, StageRow]
    environments: Mapping[str, Mapping[str, Any]]
    machines: Mapping[str, str]
    overheads: Mapping[str, float]
    body_s: float
    made_s: Mapping[str, float]
    comparison: Comparison | None
    unreadable: tuple[tuple[str, str], ...]
    _statuses: Mapping[str, Status]
    _readings: Readings
    _invalid: Mapping[str, str]
    _made: dict[object, Any] = field(default_factory=dict, init=False, compare=False)

    def once(self, what: object, make: Callable[[], MadeT]) -> MadeT:
        """Return what `make` returned when first asked for `what`: cells have most stages in common."""
        if what not in self._made:
            self._made[what] = make()
        made: MadeT = self._made[what]
        return made

    @property
    def smoke(self) -> bool:
        """Say whether the run only checks that every stage runs: its numbers mean nothing."""
        return bool(self.run["request"].get("smoke"))

    @property
    def environment(self) -> Mapping[str, Any]:
        """The environment that decides what the run is comparable with, empty where none is known."""
        return next(iter(self.environments.values()), {})

    def status(self, key: str) -> Status:
        return self._statuses.get(key, PENDING)

    @cached_property
    def well(self) -> frozenset[str]:
        """The keys of the stages that ended well."""
        return frozenset(key for key, status in self._statuses.items() if status.ok)

    def reading(self, key: str, metric: str, qualifier: str = "") -> Reading:
        """Return a metric of a stage; an empty reading where nothing was measured."""
        return self._readings.reading(key, metric, qualifier)

    def value(self, key: str, metric: str, qualifier: str = "") -> float | None:
        return self._readings.values(metric, qualifier).get(key)

    def values(self, metric: str, qualifier: str = "") -> Mapping[str, float | None]:
        """Return a metric by the key of each stage that measured it: quicker than a look-up for each."""
        return self._readings.values(metric, qualifier)

    def numbers(self, keys: Iterable[str]) -> np.ndarray:
        """Return the number of each of these stages, for `column`."""
        return self._readings.numbers(keys)

    def column(self, metric: str, numbers: np.ndarray, qualifier: str = "") -> np.ndarray:
        """Return a metric of each of these stages by `numbers`, float64; NaN where it is unknown."""
        return self._readings.column(metric, numbers, qualifier)

    def reasons(self, metric: str) -> Mapping[str, str]:
        """Return what a metric's readings give as a reason by the key of the stage, where they do."""
        return self._readings.reasons(metric)

    def launch_values(self, key: str, metric: str, qualifier: str = "") -> list[float]:
        """Return one value for each good launch that knows the metric."""
        return self._readings.launch_values(key, metric, qualifier)

    def invalid(self, key: str) -> str:
        """Say why a stage is INVALID, or return an empty text: one launch, disturbed or not, is enough."""
        return self._invalid.get(key, "")

    def latency_ratio(self, before: str, after: str) -> Interval | None:
        """Return how many times as fast the stage `after` infers as `before`; None where one is unknown."""
        return self.once(("latency_ratio", before, after), lambda: self._latency_ratio(before, after))

    def _latency_ratio(self, before: str, after: str) -> Interval | None:
        slow, fast = self.launch_values(before, "latency_s"), self.launch_values(after, "latency_s")
        if not slow or not fast:
            return None
        if before == after:
            return Interval(1.0, 1.0, 1.0, len(slow), "the same measurement")
        return ratio_interval(slow, fast)

    def machine(self, *keys: str) -> str:
        """Return the machine of the first of these stages that has one; empty if the run has a single one."""
        if not self.machines:
            return ""
        return next((self.machines[key] for key in keys if key in self.machines), "")

    def ceiling(self, device: str, metric: str, qualifier: str = "", machine: str = "") -> float | None:
        """Return what a device of a machine can do at most, as this run measured it."""
        return self.value(self.ceilings(device, machine), metric, qualifier)

    def ceilings(self, device: str, machine: str = "") -> str:
        """Return the key of the stage that measured what a device of a machine can do; empty without one."""
        return self._ceilings.get((device, machine), "")

    @cached_property
    def _ceilings(self) -> dict[tuple[str, str], str]:
        found: dict[tuple[str, str], str] = {}
        for key, stage in self.stages.items():
            if stage.kind == "ceilings":
                found.setdefault((stage.request.device, self.machine(key)), key)
        return found

    def curve(self, key: str, metric: str) -> list[float]:
        """Return a metric that is a curve, an entry for each evaluation; empty where unknown."""
        found = self._readings.samples.get((key, metric, ""))
        return [] if found is None else [float(entry) for entry in found[0]]

    def of_items(self, key: str, metric: str, qualifier: str = "") -> tuple[np.ndarray, str] | None:
        """Return what a stage kept of each test item (items,), and its method; None where it kept none."""
        return self._readings.samples.get((key, metric, qualifier))

    def timing_samples(self, key: str, metric: str) -> list[np.ndarray]:
        """Return the samples of a timing, (samples,) for each good launch that nothing disturbed."""
        return self._readings.timing_samples(key, metric)

    def measured(self, kind: str) -> frozenset[str]:
        """Return which metrics the stages of a kind measured, those under qualifiers left out."""
        return self._readings.measured.get(kind, frozenset())

    def qualifiers(self, key: str, metric: str) -> list[str]:
        """Return the qualifiers under which a stage measured a metric, in the order it did."""
        return self._readings.qualifiers(key, metric)

    def all_qualifiers(self, metric: str) -> list[str]:
        """Return the qualifiers under which any stage measured a metric, sorted."""
        return self._readings.all_qualifiers(metric)

    def stage_of(self, cell: str, kind: str) -> str:
        """Return the key of a cell's stage of a kind, by the cell's name; empty where it has none."""
        return str(self._cells[cell].stages.get(kind) or "") if cell in self._cells else ""

    @cached_property
    def _cells(self) -> dict[str, CellRow]:
        return {cell.name: cell for cell in self.cells}

    def trainings(self) -> list[Training]:
        """Return each point of `[train]` once, in the order of the matrix."""
        return list(self._trainings)

    @cached_property
    def _trainings(self) -> tuple[Training, ...]:
        found: dict[str, Training] = {}
        for cell in self.cells:
            key = str(cell.stages.get("train") or "")
            step_key = str(cell.stages.get("step") or "")
            if key in self.stages and (key not in found or (step_key and not found[key].step_key)):
                settings = self._settings(key)
                found[key] = Training(
                    {column: cell.axes.get(axis) for axis, column in TRAIN_AXES.items()},
                    key,
                    step_key,
                    _number_of(settings.get("target")),
                    str(settings.get("quality_metric") or "quality"),
                    _number_of(settings.get("steps")),
                    settings.get("optimizer_settings", {}),
                    str(cell.stages.get("single") or ""),
                )
        return tuple(found.values())

    def _settings(self, key: str) -> Mapping[str, Any]:
        settings = self.stages[key].request.settings
        return settings if isinstance(settings, Mapping) else {}


def read(store: Store, run_id: str) -> RunView:
    """Read all that is stored about a run, finished or not."""
    run = store.run(run_id)
    METRICS.learn(run["request"].get("metrics", ()))
    stages = {stage.key: stage for stage in store.stages(run_id)}
    cells = store.cells(run_id, stages.values())
    needed = (TRAIN_AXES | INFER_AXES).keys()
    for cell in cells:
        if cell.axes and not needed <= cell.axes.keys():  # cells of imported runs have none
            missing = min(needed - cell.axes.keys())
            raise store.damaged(f"cells.axes of {cell.name[:60]!r} has no {missing}")
    recorded = store.recorded(run_id, stages.values())
    launches, measurements = recorded.launches, recorded.measurements
    own = launches[~launches["reused"].astype(bool)]
    environments = store.environments(run_id)
    return RunView(
        run=run,
        cells=tuple(cells),
        stages=stages,
        environments=environments,
        machines=_machines(launches, environments),
        overheads=store.overheads(run_id),
        body_s=float(own["body_s"].sum()),
        made_s=_made_s(store, launches, stages),
        comparison=compare(store, run_id, launches),
        unreadable=(
            *((record.stage_key, record.reason) for record in recorded.unreadable),
            *_unknown_metrics(measurements),
        ),
        _statuses=statuses_of(launches),
        _readings=Readings(measurements),
        _invalid=_invalid(measurements),
    )


def _made_s(store: Store, launches: pd.DataFrame, stages: Mapping[str, StageRow]) -> dict[str, float]:
    timed = [key for key, stage in stages.items() if stage.timed]
    ended = launches[(launches["state"] == "ok") & ~launches["stage_key"].isin(timed)]
    reused = ended["reused"].astype(bool)
    own = {str(key): float(seconds) for key, seconds in _rows(ended[~reused], ("stage_key", "body_s"))}
    return {**store.making_s(ended[reused]["stage_key"]), **own}


def _unknown_metrics(measurements: pd.DataFrame) -> Iterable[tuple[str, str]]:
    unknown = measurements[~measurements["metric"].isin(list(METRICS.keys()))]
    for key, metric in sorted(set(_rows(unknown, ("stage_key", "metric")))):
        yield key, f"unknown metric {metric!r}: its value is not shown"


def training_of(row: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return which training a row of a table belongs to."""
    return _TRAINING(row)


def place_of(row: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return where a row's compression is used, see `PLACE`."""
    return _PLACE(row)


def number(value: Any) -> float | None:
    """Turn what a frame holds into a float, None for NaN and NULL."""
    return None if value is None or value != value else float(value)


def _number_of(setting: Any) -> float | None:
    return float(setting) if isinstance(setting, int | float) else None


def records(
    frame: pd.DataFrame, columns: Sequence[str] | None = None, where: pd.Series | None = None
) -> list[dict[str, Any]]:
    """Return a frame's rows as dictionaries with None, not NaN, for what is unknown.

    Of some `columns` alone where they are given, and of the rows `where` a flag is set: a large frame has
    many of either.
    """
    if where is not None:
        frame = frame.loc[where.astype(bool), list(frame.columns if columns is None else columns)]
    names = [str(column) for column in frame.columns] if columns is None else list(columns)
    # Plain lists: `where` and `to_dict` take an eighth of the time of a report.
    values = [plain_list(frame[name]) for name in (frame.columns if columns is None else names)]
    return [dict(zip(names, row, strict=True)) for row in zip(*values, strict=True)]


def plain_list(column: pd.Series) -> list[Any]:
    """Return a column's values, None for what is unknown."""
    unknown = column.isna()
    if not unknown.any():
        return column.tolist()
    found = column.astype(object).to_numpy(copy=True)
    found[unknown.to_numpy()] = None
    return list(found)


def _machines(launches: pd.DataFrame, environments: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    names = machine_names(environments)
    if len(set(names.values())) < 2:
        return {}
    pairs = _rows(launches, ("stage_key", "environment_id"))
    return {key: names[id_] for key, id_ in pairs if id_ in names}


def _invalid(measurements: pd.DataFrame) -> dict[str, str]:
    rows = measurements[(measurements["metric"] == "valid") & (measurements["value"] == 0)]
    return {key: reason or "no reason given" for key, reason in _rows(rows, ("stage_key", "reason"))}


def _rows(frame: pd.DataFrame, columns: Iterable[str]) -> Iterable[tuple[Any, ...]]:
    return zip(*(frame[column].tolist() for column in columns), strict=True)
