"""Kills a run's processes at random, lets it end, and looks whether anything was lost or made twice."""

from __future__ import annotations

import random
import signal
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import psutil

from bench.execution.ledger import MAX_KILLS
from bench.metrics import METRICS
from bench.results.artifacts import read_record, unfinished
from bench.results.folder import WORK
from bench.results.store import Store
from bench.stages import STAGES
from tests.kills.processes import all_gone, launches, most_kills_of_a_stage, parts_of, start

PARTS = ("runner", "server", "worker")
LAUNCHES = 3
"""The matrix's `max_launches`: its interval is never narrow enough to end earlier, nor is any made again."""

RUN_S = 600.0
_NO_SERVER = "no fork server could be started: it was killed by"

Values = dict[tuple[str, ...], float]


class KilledRun:
    """One run in a folder of its own, its processes killed at moments that the generator draws."""

    def __init__(self, results: Path, generator: random.Random, *options: str) -> None:
        self.results = results
        self.kills: Counter[str] = Counter()
        self._random = generator
        self._options = options
        self._runner = start(results, *options)

    def carry_out(self, quotas: Counter[str]) -> None:
        """Kill until the quotas, which it takes from, are used up or the run has ended; then let it end.

        Raises AssertionError where the run hangs, or ends badly.
        """
        while quotas.total() and self._wait_for_a_moment():
            # A stage whose launches are killed three times has failed, which is right, but no end of this.
            brink = most_kills_of_a_stage(self.results) >= MAX_KILLS - 1
            parts = [part for part in quotas.elements() if part == "runner" or not brink]
            if not parts:
                break
            part = self._random.choice(parts)
            if self._kill(part):
                self.kills[part] += 1
                quotas[part] -= 1
        while not self._ended():
            pass

    def _wait_for_a_moment(self) -> bool:
        """Wait for a moment of work, a start, a write, a commit, the report; False where it has ended."""
        wanted = launches(self.results) + self._random.choice((0, 1))
        deadline = time.monotonic() + RUN_S
        while launches(self.results) < wanted and self._runner.poll() is None:
            assert time.monotonic() < deadline, "the run hangs"
            time.sleep(0.01)
        time.sleep(self._random.uniform(0, 2.0))
        return self._runner.poll() is None or not self._ended()

    def _kill(self, part: str) -> bool:
        """Kill one process of that part, when there is one; says whether one was killed."""
        deadline = time.monotonic() + RUN_S
        while self._runner.poll() is None:
            assert time.monotonic() < deadline, "the run hangs"
            if found := parts_of(self._runner)[part]:
                return self._end(self._random.choice(found))
            time.sleep(0.005)
        return False

    def _end(self, process: psutil.Process) -> bool:
        number = self._random.choice((signal.SIGKILL, signal.SIGKILL, signal.SIGTERM))
        try:
            process.send_signal(number)
        except psutil.NoSuchProcess:
            return False
        if process.pid == self._runner.pid:
            assert self._runner.wait() == -number
            self._go_on()
            return True
        psutil.wait_procs([process], timeout=60)
        time.sleep(0.5)  # until the record is in the store: the next kill goes by it
        return True

    def _ended(self) -> bool:
        """Wait until the run has ended; False where it has given up and was started again."""
        _, errors = self._runner.communicate(timeout=RUN_S)
        if self._runner.returncode == 2 and _NO_SERVER in errors:
            self._go_on()
            return False
        assert self._runner.returncode == 0, errors[-2000:]
        return True

    def _go_on(self) -> None:
        assert all_gone(self.results), "an orphan went on running"
        self._runner = start(self.results, *self._options)


def uninterrupted(results: Path) -> Values:
    """Run the matrix without a kill, and return what any other run of it must find too."""
    runner = start(results)
    _, errors = runner.communicate(timeout=RUN_S)
    assert runner.returncode == 0, errors[-2000:]
    store = Store.open(results, create=False)
    return exact_values(store, store.find_run(None))


def exact_values(store: Store, run_id: str) -> Values:
    """Return a run's values that are counted, not sampled."""
    frame = store.measurements(run_id)
    return {
        (row["kind"], row["label"], row["metric"], row["qualifier"]): row["value"]
        for row in frame.to_dict("records")
        if METRICS[row["metric"]].kind != "sampled" and row["value"] == row["value"]
    }


def faults(
    results: Path,
    kills: Counter[str],
    expected: Values | None,
    launches_of_timed: int = LAUNCHES,
    url: str = "",
) -> Iterator[str]:
    """Yield what was lost, torn or made twice in a folder's run that was killed and has ended."""
    store = Store.open(results, url, create=False)
    run_id = store.find_run(None)
    runs = [folder for folder in store.runs()["folder"] if folder == store.folder]
    if len(runs) != 1:
        yield f"{len(runs)} runs instead of one"
    if store.run(run_id)["state"] != "finished":
        yield "the run does not count as finished"
    frame = store.launches(run_id)
    states = Counter(frame["state"])
    if set(states) - {"ok", "killed"}:
        yield f"launches are {dict(states)}"
    # Untimed stages run two at a time, so that a server may take two launches with it.
    if states["killed"] > kills["worker"] + 2 * kills["server"]:
        yield f"{states['killed']} launches are killed, after {dict(kills)} kills"
    good = frame[frame["state"] == "ok"]
    if good.duplicated(["stage_key", "round"]).any():
        yield "a launch is in the store twice"
    counts = Counter(good["stage_key"])
    for stage in store.stages(run_id):
        if counts[stage.key] != (launches_of_timed if stage.timed else 1):
            yield f"{stage.kind} {stage.label} has {counts[stage.key]} good launches"
        if STAGES.get(stage.kind).leaves_artifact and read_record(results, stage.key) is None:
            yield f"the artifact of {stage.kind} {stage.label} is torn or lost"
    if expected is not None and (found := exact_values(store, run_id)) != expected:
        yield f"values differ: {set(found.items()) ^ set(expected.items())}"
    if list(unfinished(results)) or (results / WORK).exists():
        yield "unfinished files were left"
    if not all_gone(results):
        yield "processes were left"
    store.close()
