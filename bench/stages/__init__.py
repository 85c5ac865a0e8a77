"""The table of stage kinds: planner, runner, workers, predictions and reports all read its rows.

Each kind has a module here with `run(request, folder)`, which happens inside a worker; it returns
measurements and leaves its files, if it has any, in `folder`. A plug-in adds a kind by
`STAGES.add(StageKind(...))`, an installed package through the entry-point group `bench.stages`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import entry_points
from types import MappingProxyType
from typing import Any, Literal

from bench.errors import BenchError
from bench.records import read_as
from techniques.registry import NAME, load_reference, nearest, split_reference

Works = Literal["trains", "lowers", "runs"]


@dataclass(frozen=True)
class StageKind:
    """A kind of stage. References are written `package.module:name` or `file.py:name`.

    `run` is called in the worker as `run(request, folder)`; `settings` is the dataclass of its settings.
    `plan` is called for each cell as `plan(planner, point, keys)`, with the keys of the cell's stages so far,
    and returns the key of its own or None; it is empty where another kind plans it. Stages are planned and
    started in the order of `phase`.

    `works` says what it does on a backend: trains on that of [train], lowers for or runs on that of [infer].
    What a kind that `leaves_artifact` left is taken up again by other runs. `timed_by` is the metric whose
    interval decides whether a stage needs more launches; a kind without one has a single launch. One that
    runs `alone` has all cores to itself, because its clock is a result. `shares` is the kind of artifact by
    whose observed structure several cells may share a timing, and `label` the ending of its name; with
    `any_batch` it has batches of its own. What a `daily` kind found, other runs on the machine take over for
    a day. `guess_s` and `guess_bytes` are what a stage takes where nothing is
    measured.
    """

    name: str
    run: str
    settings: str
    plan: str
    about: str
    phase: int
    works: Works
    leaves_artifact: bool = False
    timed_by: str = ""
    alone: bool = False
    shares: str = ""
    label: str = ""
    any_batch: bool = False
    daily: bool = False
    guess_s: float = 5.0
    guess_bytes: int | None = None

    @property
    def module(self) -> str:
        """The module or file that runs in the worker."""
        return split_reference(self.run)[0]


class StageTable:
    """The kinds of stages, by name, in the order in which they are planned and started."""

    def __init__(self) -> None:
        self._rows: dict[str, StageKind] = {}
        self._third_parties_loaded = False

    def add(self, row: StageKind) -> None:
        """Add a kind; raises BenchError on a name that is taken, or that cannot be written."""
        if not NAME.fullmatch(row.name):
            raise BenchError(f"stage kind {row.name!r}: a name has only a-z, 0-9, '.' and '-'")
        if self._rows.get(row.name, row) != row:
            raise BenchError(f"stage kind {row.name!r} is already registered: {self._rows[row.name].about}")
        if row.shares and row.shares not in self._rows:
            raise BenchError(
                f"stage kind {row.name!r}: shares {row.shares!r}{nearest(row.shares, self._rows)}"
            )
        ordered = sorted({**self._rows, row.name: row}.values(), key=lambda entry: entry.phase)
        self._rows = {entry.name: entry for entry in ordered}

    def rows(self) -> Mapping[str, StageKind]:
        """Return every kind by its name, in the order of their phases."""
        if not self._third_parties_loaded:
            self._third_parties_loaded = True
            for entry in entry_points(group="bench.stages"):
                entry.load()(self)
        return MappingProxyType(self._rows)

    def get(self, name: str) -> StageKind:
        """Return the kind of that name; raises BenchError that names the nearest one."""
        if name not in self._rows and name not in self.rows():
            raise BenchError(f"unknown stage kind {name!r}{nearest(name, self._rows)}")
        return self._rows[name]

    def plans(self) -> dict[str, Callable[..., str | None]]:
        """Return what plans each kind that is planned by itself, imported.

        Raises BenchError where a row of somebody else's names what is not there.
        """
        for row in self.rows().values():
            for reference in (row.run, row.settings) if not row.module.startswith("bench.") else ():
                _loaded(row, reference)
        return {row.name: _loaded(row, row.plan) for row in self.rows().values() if row.plan}

    def known(self, name: str) -> StageKind | None:
        """Return the kind of that name, None where a store has it from a plug-in that is not loaded."""
        return self.rows().get(name)


def _loaded(row: StageKind, reference: str) -> Callable[..., Any]:
    try:
        found = load_reference(reference)
    except (Exception, SystemExit) as error:
        raise BenchError(f"stage kind {row.name!r}: {error}") from error
    if not callable(found):
        raise BenchError(f"stage kind {row.name!r}: {reference} must be a function or a class")
    called: Callable[..., Any] = found
    return called


STAGES = StageTable()


@cache
def run_of(kind: str) -> Callable[..., Any]:
    """Return what runs a stage of a kind, imported."""
    found: Callable[..., Any] = load_reference(STAGES.get(kind).run)
    return found


def settings_of(kind: str, content: Mapping[str, Any]) -> Any:
    """Return a stage's settings as its kind's class has them; raises ValueError where they do not fit."""
    return read_as(_settings_class(kind), content)


@cache
def _settings_class(kind: str) -> type:
    found: type = load_reference(STAGES.get(kind).settings)
    return found


def _add(
    name: str, about: str, phase: int, works: Works, *, settings: str, plan: bool = True, **traits: Any
) -> None:
    STAGES.add(
        StageKind(
            name,
            f"bench.stages.{name}:run",
            f"bench.stages.settings:{settings}",
            f"bench.plan.stages:{name}" if plan else "",
            about,
            phase,
            works,
            **traits,
        )
    )


# Seconds are of two cores of a server, and of a small CNN. Kinds of one phase start as they are planned: what
# is taught follows its teacher, which follows what it was compressed from.
_add(
    *("trial", "Try settings of an optimizer for the trainings that they tune", 0, "trains"),
    plan=False,
    settings="TrialSettings",
    leaves_artifact=True,
    alone=True,
    guess_s=40.0,
    guess_bytes=1_000,
)
_add(
    *("train", "Train a model to its target, or take it as it is given", 0, "trains"),
    settings="TrainSettings",
    leaves_artifact=True,
    alone=True,
    guess_s=40.0,
    guess_bytes=500_000,
)
_add(
    *("teach", "Keep a teacher's outputs on the training data for its students", 1, "trains"),
    plan=False,
    settings="WorkloadSettings",
    leaves_artifact=True,
)
_add(
    *("compress", "Apply one step of a compression recipe, and recover", 1, "trains"),
    settings="CompressSettings",
    leaves_artifact=True,
    guess_s=6.0,
    guess_bytes=500_000,
)
_add(
    *("lower", "Make the file that a runtime loads fast", 2, "lowers"),
    settings="LoweredSettings",
    leaves_artifact=True,
    guess_s=8.0,
    guess_bytes=300_000,
)
_add(
    *("evaluate", "Measure quality on the backend, and the distance from the model", 3, "runs"),
    settings="LoweredSettings",
    guess_s=2.0,
)
_add(
    *("robustness", "Measure quality on corrupted test items, on request", 3, "runs"),
    settings="RobustnessSettings",
    guess_s=4.0,
)
_add(
    *("attribution", "Compare attributions with the uncompressed model's, on request", 3, "trains"),
    settings="AttributionSettings",
    guess_s=8.0,
)
_add(
    *("ceilings", "Measure what a device can do at most", 4, "runs"),
    settings="CeilingsSettings",
    alone=True,
    daily=True,
    guess_s=3.0,
)
_add(
    *("serve", "Find the rate of arrivals that holds a bound on the p99", 5, "runs"),
    settings="ServeSettings",
    alone=True,
    shares="lower",
    label="server",
    guess_s=15.0,
)
_add(
    *("requests", "Serve requests for texts that arrive as a Poisson process, on request", 5, "runs"),
    settings="RequestsSettings",
    timed_by="request_s",
    shares="lower",
    label="requests",
    any_batch=True,
    guess_s=60.0,
)
_add(
    *("generate", "Continue texts token by token", 6, "runs"),
    settings="GenerateSettings",
    timed_by="generation_s",
    shares="lower",
    label="generation",
    any_batch=True,
    guess_s=10.0,
)
_add(
    *("step", "Time one step of training", 7, "trains"),
    settings="StepSettings",
    timed_by="step_latency_s",
    shares="train",
    label="step",
    guess_s=2.0,
)
_add(
    *("single", "Time one step of training on one of several devices", 7, "trains"),
    settings="SingleSettings",
    timed_by="single_step_s",
    label="step on one device",
    guess_s=2.0,
)
_add(
    *("infer", "Time a lowered model on batches of one size", 8, "runs"),
    settings="InferSettings",
    timed_by="latency_s",
    shares="lower",
    guess_s=1.5,
)
_add(
    *("imported", "What another tool measured, from its file", 9, "runs"),
    plan=False,
    settings="ImportedSettings",
    timed_by="imported_s",
)
