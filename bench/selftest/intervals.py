"""What our intervals are worth: drawn again and again from a pool of many launches of the same thing."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.analysis.statistics import launch_interval, ratio_interval, relative_spread
from bench.errors import BenchError
from bench.execution.options import RunOptions
from bench.execution.preparation import prepare
from bench.execution.session import execute
from bench.results.store import Store
from bench.stages import STAGES

MATRIX = Path(__file__).parent / "pool.toml"
SIZE = 10
"""Launches in a draw."""

DRAWS = 1000

MIN_COVERAGE = 0.93
EXCLUDED = (0.02, 0.08)
WIDEST = {"infer": 0.05, "step": 0.08}


@dataclass(frozen=True)
class Worth:
    """What intervals from `SIZE` launches of a pool are worth, over `DRAWS` draws.

    `excluding_one` is the share of A/A splits, two draws of different launches, whose ratio's interval leaves
    out 1: 0.05 is what a 95 % interval promises. `covering` is the share of intervals that hold the pool's
    median. `half_width` is the median of their half-widths over their values. `spread` is the robust standard
    deviation between launches over their median; `carry_over` the correlation of a launch with the one before
    it, near 0 where launches are independent.
    """

    label: str
    kind: str
    launches: int
    spread: float
    carry_over: float
    excluding_one: float
    covering: float
    half_width: float

    @property
    def faults(self) -> tuple[str, ...]:
        """Say which bars are missed."""
        least, most = EXCLUDED
        widest = WIDEST[self.kind]
        found = []
        if not least <= self.excluding_one <= most:
            found.append(f"{100 * self.excluding_one:.1f} % of A/A splits exclude 1, not 2 to 8 %")
        if self.covering < MIN_COVERAGE:
            found.append(f"{100 * self.covering:.1f} % hold the median, not 93 %")
        if self.half_width > widest:
            found.append(f"half-width {100 * self.half_width:.1f} %, over {100 * widest:.0f} %")
        return tuple(found)


@dataclass(frozen=True)
class Pool:
    """Launch medians of one timed stage in seconds, in the order they were made, disturbed ones left out."""

    label: str
    kind: str
    values: tuple[float, ...]


def run_pool(results: Path) -> list[Pool]:
    """Run the pool's matrix, as any run is made, and return what each timed stage's launches gave."""
    outcome = execute(prepare(RunOptions(str(MATRIX), results)), lambda run_id: None)
    if not outcome.ok:
        raise BenchError(f"run {outcome.run_id} failed; `bench report --results {results}` says why")
    store = Store.open(results, create=False)
    pools = [
        Pool(
            stage.label,
            stage.kind,
            tuple(store.launch_values(outcome.run_id, stage.key, STAGES.get(stage.kind).timed_by)),
        )
        for stage in store.stages(outcome.run_id)
        if stage.timed
    ]
    store.close()
    return pools


def write_pools(pools: Sequence[Pool], path: Path) -> None:
    """Write every launch median as CSV, so that what intervals are worth can be worked out again."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("stage", "launch", "seconds"))
        for pool in pools:
            writer.writerows(
                (pool.label, number, f"{value:.9g}") for number, value in enumerate(pool.values, 1)
            )


def judge(pool: Pool, draws: int = DRAWS) -> Worth:
    """Draw from a pool again and again; raises BenchError where it is smaller than two draws.

    The two halves of an A/A split share no launch; a draw for coverage may take a launch several times.
    """
    if len(pool.values) < 2 * SIZE:
        raise BenchError(f"{pool.label}: {len(pool.values)} launches are too few for two draws of {SIZE}")
    generator = np.random.default_rng(0)
    values = np.asarray(pool.values, dtype=float)
    truth = float(np.median(values))
    excluded, held, widths = 0, 0, []
    for _ in range(draws):
        split = generator.permutation(values)[: 2 * SIZE]
        ratio = ratio_interval(split[:SIZE].tolist(), split[SIZE:].tolist())
        excluded += not _holds(ratio.low, 1.0, ratio.high)
        interval = launch_interval(generator.choice(values, SIZE).tolist())
        held += _holds(interval.low, truth, interval.high)
        widths.append(interval.relative_half_width)
    return Worth(
        pool.label,
        pool.kind,
        len(values),
        relative_spread(pool.values),
        float(np.corrcoef(values[1:], values[:-1])[0, 1]) if values.std() else 0.0,
        excluded / draws,
        held / draws,
        float(np.median(widths)),
    )


def _holds(low: float | None, value: float, high: float | None) -> bool:
    return low is not None and high is not None and low <= value <= high


WORTH_HEADINGS = (
    "timed stage",
    "launches",
    "spread",
    "carry-over",
    "A/A splits that exclude 1",
    f"intervals of {SIZE} that hold the median",
    "median half-width",
    "verdict",
)


def worth_rows(found: Sequence[Worth]) -> list[tuple[str, ...]]:
    """Return a table for a person; `WORTH_HEADINGS` are its columns."""
    return [
        (
            worth.label,
            str(worth.launches),
            f"{100 * worth.spread:.1f} %",
            f"{worth.carry_over:.2f}",
            f"{100 * worth.excluding_one:.1f} %",
            f"{100 * worth.covering:.1f} %",
            f"{100 * worth.half_width:.1f} %",
            "; ".join(worth.faults) or "holds",
        )
        for worth in found
    ]
