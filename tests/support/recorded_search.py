"""A table of recipes × backends, what each was measured to be, and what measuring it took: it is replayed."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from bench.search.goals import Answer, Problem, read_problem
from bench.search.space import Candidate, Space
from bench.search.strategy import Rung, Search
from techniques.settings import split

LOSS, LATENCY = "quality_loss_points", "latency_s"
ONE_LAUNCH_ERROR = 0.15


@dataclass(frozen=True)
class Measured:
    """A candidate as it was measured: seconds of its stages, and of one launch. `step_s` is of the last step.

    `first_latency_s` is of its first launch, `latency_s` the median over all. A `reason` says why it failed.
    """

    steps: str
    format: str
    backend: str
    reason: str = ""
    quality_loss_points: float = 0.0
    first_latency_s: float = 0.0
    latency_s: float = 0.0
    launches: int = 0
    step_s: float = 0.0
    lower_s: float = 0.0
    evaluate_s: float = 0.0
    launch_s: float = 0.0

    @property
    def candidate(self) -> Candidate:
        return Candidate(self.steps, self.format, self.backend)


def read_table(path: Path) -> list[Measured]:
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    kinds = {entry.name: str(entry.type) for entry in fields(Measured)}
    of_kind = {"str": str, "float": float, "int": int}
    return [Measured(**{key: of_kind[kinds[key]](value) for key, value in row.items()}) for row in rows]


def write_table(path: Path, table: Sequence[Measured]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, [entry.name for entry in fields(Measured)])
        writer.writeheader()
        for row in table:
            shown = {k: f"{v:.4g}" if isinstance(v, float) else v for k, v in asdict(row).items()}
            writer.writerow(shown)


class Replay:
    """Answers from a table, and adds up what measuring takes: each stage once, launches each time."""

    def __init__(self, table: Sequence[Measured], full_launches: int | None = None) -> None:
        self._rows = {row.candidate: row for row in table}
        self._steps_s = {row.steps: row.step_s for row in table if row.steps}
        self._full_launches = full_launches
        self._made: set[object] = set()
        self.spent_s = 0.0
        self.asked: list[tuple[Candidate, Rung]] = []

    def has_time(self, rung: Rung) -> bool:
        return True

    def __call__(self, candidates: Sequence[Candidate], rung: Rung) -> Mapping[Candidate, Answer]:
        return {candidate: self._answer(candidate, rung) for candidate in candidates}

    def _answer(self, candidate: Candidate, rung: Rung) -> Answer:
        self.asked.append((candidate, rung))
        row = self._rows[candidate]
        self._spend(row, rung)
        if row.reason:
            return Answer(reason=row.reason)
        first = rung == "first"
        latency_s = row.first_latency_s if first else row.latency_s
        errors = {LATENCY: ONE_LAUNCH_ERROR * latency_s} if first else {}
        return Answer(
            {LATENCY: latency_s, LOSS: row.quality_loss_points}, errors, 1 if first else row.launches
        )

    def _spend(self, row: Measured, rung: Rung) -> None:
        parts = split(row.steps, "+") if row.steps else []
        chains = ["+".join(parts[: place + 1]) for place in range(len(parts))]
        for made, seconds in (
            *((steps, self._steps_s.get(steps, 0.0)) for steps in chains),
            (row.candidate, row.lower_s),
        ):
            if made not in self._made:
                self._made.add(made)
                self.spent_s += seconds
        launches = 1 if rung == "first" else (self._full_launches or row.launches)
        self.spent_s += row.evaluate_s + row.launch_s * launches


def space_of(table: Sequence[Measured]) -> Space:
    """Return the space that a table spans."""
    recipes = dict.fromkeys(row.steps for row in table if row.steps)
    steps = tuple(text for text in recipes if len(split(text, "+")) == 1)
    chains = tuple(text for text in recipes if len(split(text, "+")) > 1)
    return Space(steps, chains, tuple(dict.fromkeys((row.format, row.backend) for row in table)))


@dataclass(frozen=True)
class Score:
    """How a search did: its winner's latency over the best one's, its cost over that of measuring all."""

    winner: Candidate
    latency_ratio: float
    cost_ratio: float
    measured: int
    candidates: int


def score(table: Sequence[Measured], goal: str = f"{LOSS} <= 1", full_launches: int | None = None) -> Score:
    """Search a table; hold winner and cost against measuring every candidate with all launches."""
    problem: Problem = read_problem([goal], LATENCY)
    everything, replayed = Replay(table, full_launches), Replay(table, full_launches)
    rows = {row.candidate: row for row in table}
    best = min(
        (answer.values[LATENCY], candidate)
        for candidate, answer in everything(list(rows), "full").items()
        if not answer.reason and problem.holds(answer)
    )
    search = Search(space_of(table), problem, replayed)
    search.run()
    won = search.winner()
    assert won is not None
    return Score(
        won[0],
        rows[won[0]].latency_s / best[0],
        replayed.spent_s / everything.spent_s,
        len({candidate for candidate, _ in replayed.asked}),
        len(rows),
    )
