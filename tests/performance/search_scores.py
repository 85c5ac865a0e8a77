"""How good a search is beside measuring everything: `python -m tests.performance.search_scores FOLDER`.

Every candidate of a space is measured in one run in FOLDER/all, and written to FOLDER/table.csv. Then a
search is replayed on that table: its winner's latency over the best, and its cost over that of the whole,
both at ten launches a candidate, as `bench compress` takes of finalists. With --search `bench compress` runs
too, in a folder of its own.

The run ends after --minutes, 10 by default; the same command goes on with it until the table is whole. The
defaults take 8 to 15 minutes on two cores that do nothing else. What the tests replay is such a table:
`--keep tests/data/search_simplecnn.csv`.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from bench.execution.options import RunOptions
from bench.execution.preparation import prepare
from bench.execution.session import execute
from bench.formatting import say
from bench.results.store import Store
from bench.search.deadline import BudgetSpent, ending_after
from bench.search.goals import read_problem
from bench.search.runs import answer_of, matrix_text
from bench.search.space import Candidate, make_space
from reports.frames.inference import inference_table
from reports.frames.view import RunView, read, records
from tests.support.recorded_search import LATENCY, LOSS, Measured, read_table, score, write_table

WORKLOAD = "fashion-mnist-simplecnn"
STEPS = ("prune-channels:0.5", "prune-channels:0.75", "low-rank:0.25")
FORMATS = ("int8-dynamic", "int8-static")
BACKENDS = ("cpu-eager", "onnxruntime", "openvino")
GOAL = f"{LOSS} <= 1"
FULL_LAUNCHES = 10
LAUNCHES = 3


def main() -> None:
    """Measure or read the table, and print the scores."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--workload", default=WORKLOAD)
    parser.add_argument("--step", action="append")
    parser.add_argument("--format", action="append")
    parser.add_argument("--backend", action="append")
    parser.add_argument("--launches", type=int, default=LAUNCHES)
    parser.add_argument("--minutes", type=float, default=10.0, help="end the run after so many")
    parser.add_argument("--keep", type=Path, help="copy the table to this file")
    parser.add_argument("--search", action="store_true", help="run the search too")
    chosen = parser.parse_args()
    words = {
        "--step": chosen.step or STEPS,
        "--format": chosen.format or FORMATS,
        "--backend": chosen.backend or BACKENDS,
    }
    table = chosen.folder / "table.csv"
    if not table.is_file():
        measure(chosen.folder, chosen.workload, chosen.launches, words, 60 * chosen.minutes)
    if chosen.keep:
        shutil.copyfile(table, chosen.keep)
    found = score(read_table(table), GOAL, full_launches=FULL_LAUNCHES)
    print(
        f"replayed: {found.winner}, {found.latency_ratio:.3f} of the best latency, at "
        f"{found.cost_ratio:.1%} of the cost of all; {found.measured} of {found.candidates} candidates "
        "measured"
    )
    if chosen.search:
        print(f"search: {search(chosen.folder, chosen.workload, words):.0f} s")


def measure(
    folder: Path, workload: str, launches: int, words: dict[str, tuple[str, ...]], most_s: float
) -> None:
    """Run every candidate, for so many seconds at most, and write the table; exits where time was short."""
    space = make_space(
        by_structure=True, steps=words["--step"], formats=words["--format"], backends=words["--backend"]
    )
    candidates = list(space.candidates())
    folder.mkdir(parents=True, exist_ok=True)
    text = matrix_text(workload, candidates, "full", "fp32", 1)
    fewer = text.replace(f"max_launches = {FULL_LAUNCHES}", f"max_launches = {launches}")
    (folder / "all.toml").write_text(fewer.replace("max_repeats = 3", "max_repeats = 1"))
    print(f"{len(candidates)} candidates, {launches} launches each, {most_s / 60:g} minutes at most")
    results = folder / "all"
    try:
        with ending_after(most_s):
            prepared = prepare(RunOptions(str(folder / "all.toml"), results), say=say)
            execute(prepared, lambda run_id: None, say=say)
    except BudgetSpent:
        sys.exit("the time is up: the same command goes on with what is left")
    store = Store.open(results, create=False)
    run_id = store.find_run(None)
    write_table(folder / "table.csv", list(recorded(store, run_id, candidates)))
    store.close()


def recorded(store: Store, run_id: str, candidates: list[Candidate]) -> Iterator[Measured]:
    """Yield what a run measured of each candidate, and what that took."""
    view, launches = read(store, run_id), store.launches(run_id)
    rows = {(row["compression"], row["backend"]): row for row in records(inference_table(view))}
    walls = launches.groupby("stage_key")["wall_s"].mean().to_dict()
    problem = read_problem([GOAL], LATENCY)
    for candidate in candidates:
        row = rows[candidate.compression, candidate.backend]
        answer = answer_of(view, row, problem, "full")
        own = {kind: str(row[f"{kind}_key"] or "") for kind in ("compress", "lower", "evaluate", "infer")}
        times = (candidate.steps, candidate.format, candidate.backend)
        seconds = (
            view.made_s.get(own["compress"], 0.0),
            *(walls.get(own[k], 0.0) for k in ("lower", "evaluate", "infer")),
        )
        if answer.reason:
            yield Measured(*times, answer.reason, 0.0, 0.0, 0.0, 0, *seconds)
            continue
        yield Measured(
            *times,
            "",
            answer.values[LOSS],
            first_launch_s(view, own["infer"]),
            answer.values[LATENCY],
            answer.launches,
            *seconds,
        )


def first_launch_s(view: RunView, infer: str) -> float:
    """Return the latency that the first launch alone would have given."""
    return view.launch_values(infer, LATENCY)[0]


def search(folder: Path, workload: str, words: dict[str, tuple[str, ...]]) -> float:
    """Run the search; return its seconds."""
    command = [sys.executable, "-m", "bench", "compress", "--workload", workload, "--goal", GOAL]
    command += [word for name, values in words.items() for value in values for word in (name, value)]
    started = time.monotonic()
    subprocess.run([*command, "--budget", "5h", "--results", str(folder / "search")], check=False)
    return time.monotonic() - started


if __name__ == "__main__":
    main()
