"""A run that is killed loses nothing that it had finished: the same command goes on from there."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import psutil
import pytest

from bench.artifacts import read_record
from bench.metrics import METRICS
from bench.records import State
from bench.store import Store

KILLS = 10
MATRIX = Path(__file__).with_name("small.toml")
MOST_LAUNCHES = 3 + 1
"""The matrix's `max_launches`, and its `max_repeats` of what a busy machine disturbs."""
COMMAND = [sys.executable, "-m", "bench", "run", "--matrix", str(MATRIX), "--results"]


def start(results: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen([*COMMAND, str(results)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def launches(results: Path, states: str = "%") -> int:
    """Count what is in the store, as another process sees it while the run goes on."""
    try:
        with sqlite3.connect(f"file:{results}/bench.sqlite?mode=ro", uri=True, timeout=30) as connection:
            query = "SELECT count(*) FROM launches WHERE state LIKE ?"
            return int(connection.execute(query, (states,)).fetchone()[0])
    except sqlite3.OperationalError:
        return 0


def processes_of(results: Path) -> list[psutil.Process]:
    """Find every fork server and worker that works for these results."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("TORCHINDUCTOR_CACHE_DIR", "").startswith(str(results)):
                found.append(process)
        except psutil.Error:
            continue
    return [process for process in found if process.status() != psutil.STATUS_ZOMBIE]


def all_gone(results: Path) -> bool:
    deadline = time.monotonic() + 10
    while processes_of(results) and time.monotonic() < deadline:
        time.sleep(0.1)
    return not processes_of(results)


def finished_once(store: Store, run_id: str) -> bool:
    """Say whether no stage that ended well was launched again: one launch, or as many as the matrix has."""
    frame = store.launches(run_id)
    good = frame[frame["state"] == "ok"]
    counts = Counter(good["stage_key"])
    return not good.duplicated(["stage_key", "round"]).any() and all(
        1 <= counts[stage.key] <= (MOST_LAUNCHES if stage.timed else 1) for stage in store.stages(run_id)
    )


def exact_values(store: Store, run_id: str) -> dict[tuple[str, ...], float]:
    frame = store.measurements(run_id)
    return {
        (row["kind"], row["label"], row["metric"], row["qualifier"]): row["value"]
        for row in frame.to_dict("records")
        if METRICS[row["metric"]].kind != "sampled" and row["value"] == row["value"]
    }


def states(store: Store, run_id: str) -> Counter[State]:
    return Counter(state for _, _, state in store.launch_results(run_id))


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory) -> tuple[Store, str]:
    results = tmp_path_factory.mktemp("uninterrupted")
    assert start(results).wait(timeout=300) == 0
    store = Store.open(results, create=False)
    return store, store.find_run(None)


@pytest.mark.timeout(900)
def test_killed_run_resumes_without_repeating_finished_stages(uninterrupted, tmp_path):
    reference, reference_run = uninterrupted
    generator = random.Random(20)
    # Three launches are the least that a timed stage has; how many more follow is the noise's to say.
    whole = sum(3 if stage.timed else 1 for stage in reference.stages(reference_run))
    for moment in sorted(generator.sample(range(whole), KILLS)):
        runner = start(tmp_path)
        while launches(tmp_path) < moment and runner.poll() is None:
            time.sleep(0.01)
        # Into whatever comes next: a stage's work, an artifact's write, a commit, the report.
        time.sleep(generator.uniform(0, 1.0))
        runner.send_signal(signal.SIGKILL)
        assert runner.wait() == -signal.SIGKILL, "the run ended before it could be killed"
        assert all_gone(tmp_path), "an orphan went on running"
    assert start(tmp_path).wait(timeout=300) == 0

    store = Store.open(tmp_path, create=False)
    run_id = store.find_run(None)
    assert len(store.runs()) == 1
    assert finished_once(store, run_id)
    assert set(states(store, run_id)) == {"ok"}
    for stage in store.stages(run_id):
        if stage.kind in ("train", "compress", "lower"):
            assert read_record(tmp_path, stage.key) is not None, f"{stage.label} is torn"
    assert exact_values(store, run_id) == exact_values(reference, reference_run)


@pytest.mark.timeout(600)
def test_a_killed_worker_or_server_is_a_record_and_its_stage_runs_again(uninterrupted, tmp_path):
    reference, reference_run = uninterrupted
    runner = start(tmp_path)
    # More than must show: a worker that has just left its result is no longer a record of its own. So far
    # apart that none meets a stage for the third time, which would be its last: 12 stages are not timed.
    servers_turn = 8
    for moment in (0, 4, servers_turn, 13, 17):
        while launches(tmp_path, "ok") < moment:
            time.sleep(0.01)
        while True:
            found = processes_of(tmp_path)
            servers = [process for process in found if process.ppid() == runner.pid]
            workers = [process for process in found if process not in servers]
            if (chosen := servers if moment == servers_turn else workers) and workers:
                os.kill(chosen[0].pid, signal.SIGKILL)
                break
            assert runner.poll() is None, "the run ended before its worker could be killed"
            time.sleep(0.005)
    assert runner.wait(timeout=300) == 0

    store = Store.open(tmp_path, create=False)
    run_id = store.find_run(None)
    assert states(store, run_id)["killed"] >= 3
    assert set(states(store, run_id)) == {"ok", "killed"}
    assert finished_once(store, run_id)
    assert exact_values(store, run_id) == exact_values(reference, reference_run)


@pytest.mark.timeout(300)
def test_an_interrupted_run_says_how_to_go_on_and_leaves_nobody_running(tmp_path):
    # A shell that starts the tests in the background makes them, and all they start, ignore the signal.
    def heed() -> None:
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    command = [*COMMAND, str(tmp_path)]
    runner = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, preexec_fn=heed)
    while launches(tmp_path) < 3:
        time.sleep(0.05)
    runner.send_signal(signal.SIGINT)
    _, errors = runner.communicate(timeout=30)
    assert runner.returncode == 130, errors
    assert errors.splitlines()[-1] == "bench: interrupted; the same command goes on from here"
    assert all_gone(tmp_path)


def test_two_runs_in_one_folder_are_refused(bench, tmp_path):
    runner = start(tmp_path)
    try:
        while launches(tmp_path) < 1:
            time.sleep(0.05)
        second = bench("run", "--matrix", MATRIX, "--results", tmp_path)
        assert second.returncode == 2
        assert "another run is at work here" in second.stderr
    finally:
        runner.kill()
        runner.wait()
        assert all_gone(tmp_path)
