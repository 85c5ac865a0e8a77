"""What training brings to compression: `python -m tests.performance.compression_claims FOLDER`.

Two questions, each by pairs of trainings that differ in one thing, over several seeds: does rounding in
training (`qat`) recover what rounding afterwards loses at 4 bits; does a distilled student beat the same
student without a teacher. Qualities alone are compared, so the machine may do other work. The run ends after
--minutes, 20 by default; the same command goes on with it, and answers with what has been measured.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from bench.analysis.statistics import Interval, mean_interval
from bench.execution.options import RunOptions
from bench.execution.preparation import prepare
from bench.execution.session import execute
from bench.formatting import format_points, print_table, say
from bench.results.store import Store
from bench.search.deadline import BudgetSpent, ending_after
from reports.frames.inference import inference_table
from reports.frames.view import read, records
from techniques.compression import parse_recipe

SEEDS = 5
BACKEND = "cpu-eager"


@dataclass(frozen=True)
class Claim:
    """Two compressions that differ in one thing, the workloads to compare them on, and what is asked."""

    question: str
    better: str
    control: str
    workloads: tuple[str, ...]


CLAIMS = (
    Claim("4 bits: what rounding loses", "none", "round-to-nearest:bits=4,group=0", ("digits",)),
    Claim(
        "4 bits: what qat recovers, over training as long and rounding then",
        *("qat:bits=4,group=0", "finetune+round-to-nearest:bits=4,group=0", ("digits",)),
    ),
    Claim("4 bits: what qat still loses", "none", "qat:bits=4,group=0", ("digits",)),
    Claim("a teacher, width 0.25", "distill:0.25", "student:0.25", ("digits", "fashion-mnist-simplecnn")),
    Claim("a teacher, width 0.5", "distill:0.5", "student:0.5", ("digits",)),
)


def matrix_of(claims: Iterable[Claim], seeds: int) -> str:
    """Return a matrix that trains and evaluates what claims compare, and times next to nothing."""
    recipes: dict[str, list[str]] = {}
    for claim in claims:
        for workload in claim.workloads:
            recipes.setdefault(workload, []).extend(["none", claim.better, claim.control])
    lines = ['about = "What training brings to compression"']
    for workload, texts in recipes.items():
        named = ", ".join(f'"{text}"' for text in dict.fromkeys(texts))
        lines += ["[[cross]]", "[cross.train]", f'workload = "{workload}"', 'optimizer = "tuned"']
        lines += [f"seed = {list(range(seeds))}", "[cross.infer]", f"compression = [{named}]"]
        lines += [f'backend = "{BACKEND}"']
    return "\n".join([*lines, "[budget]", "max_launches = 1", "max_repeats = 0", "sample_s = 0.05", ""])


def gains(
    claim: Claim, workload: str, qualities: dict[tuple[str, str, int], float]
) -> tuple[Interval, int] | None:
    """Return the points of quality that the better one wins, over seeds that have both; None without any."""
    better, control = (parse_recipe(text).text for text in (claim.better, claim.control))
    seeds = {seed for name, recipe, seed in qualities if name == workload and recipe == better}
    found = [
        100 * (qualities[workload, better, seed] - qualities[workload, control, seed])
        for seed in sorted(seeds)
        if (workload, control, seed) in qualities
    ]
    return (mean_interval(found), len(found)) if found else None


def rows(claims: Iterable[Claim], qualities: dict[tuple[str, str, int], float]) -> Iterator[tuple[str, ...]]:
    """Yield a row of text for each claim and workload."""
    for claim in claims:
        for workload in claim.workloads:
            found = gains(claim, workload, qualities)
            if found is None:
                yield claim.question, workload, claim.better, claim.control, "not measured yet", "", "0"
                continue
            gain, seeds = found
            known = gain.low is not None and gain.high is not None
            bounds = f"{format_points(gain.low)} to {format_points(gain.high)}" if known else ""
            told = "more" if known and gain.low > 0 else "less" if known and gain.high < 0 else "can't tell"
            yield (
                *(claim.question, workload, claim.better, claim.control),
                *(f"{format_points(gain.value)} ({bounds})", told, str(seeds)),
            )


def main() -> None:
    """Run what is not there yet, then print what each comparison says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--workload", action="append", help="compare on this workload; repeatable")
    chosen = parser.parse_args()
    chosen.folder.mkdir(parents=True, exist_ok=True)
    path, results = chosen.folder / "claims.toml", chosen.folder / "results"
    claims = [replace(claim, workloads=tuple(chosen.workload or claim.workloads)) for claim in CLAIMS]
    path.write_text(matrix_of(claims, chosen.seeds))
    try:
        with ending_after(60 * chosen.minutes):
            execute(prepare(RunOptions(str(path), results), say=say), lambda run_id: None, say=say)
    except BudgetSpent:
        say("the time is up: the same command goes on with what is left")
    store = Store.find(results)
    if store is None:
        sys.exit("nothing was measured")
    table = records(inference_table(read(store, store.find_run(None))))
    store.close()
    known = {
        (row["workload"], row["compression"], int(row["seed"])): float(row["quality"])
        for row in table
        if row["quality"] is not None
    }
    headings = ("", "workload", "of", "over", "points won (95 %)", "", "seeds")
    print_table("Quality, by pairs of seeds", list(rows(claims, known)), headings)


if __name__ == "__main__":
    main()
