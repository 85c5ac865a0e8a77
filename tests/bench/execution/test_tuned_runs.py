"""Runs that tune optimizers, made for real: trials are kept, resumed and sharded as other stages are."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from bench.results.store import Store
from reports.frames.training import training_table
from reports.frames.tuning import trials_table
from reports.frames.view import RunView, read, records
from tests.kills.processes import all_gone
from tests.support.same_runs import differences

MATRIX = """
[train]
workload = "diabetes-mlp"
optimizer = {optimizers}
tuning = {tuning}

[infer]
compression = "none"
backend = "cpu-eager"

[budget]
train_steps = 30
max_launches = 1
sample_s = 0.01
"""


def written(folder: Path, optimizers: str, tuning: str) -> Path:
    file = folder / "tuned.toml"
    file.write_text(MATRIX.format(optimizers=optimizers, tuning=tuning))
    return file


def view_of(results: Path) -> RunView:
    store = Store.open(results, create=False)
    view = read(store, store.find_run(None))
    store.close()
    return view


@pytest.mark.timeout(300)
def test_a_run_that_is_killed_goes_on_and_makes_no_trial_twice(bench: Any, tmp_path: Path) -> None:
    results = tmp_path / "results"
    matrix = written(tmp_path, '"adam"', "{ trials = 2 }")
    words = ("run", "--matrix", matrix, "--results", results)
    command = [sys.executable, "-m", "bench", *map(str, words)]
    runner = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while len(trials_of(results)) < 2 and runner.poll() is None:
        time.sleep(0.05)
    runner.send_signal(signal.SIGKILL)
    runner.wait()
    assert all_gone(results)
    before = trials_of(results)
    done = bench(*words)
    assert done.returncode == 0, done.stderr
    assert len(before) >= 2 and ": resumed" in done.stdout + done.stderr
    made = Counter(trials_of(results))
    assert set(made.values()) == {1} and len(made) == 2 + 2 and set(before) <= set(made)
    view = view_of(results)
    (training,) = records(training_table(view))
    assert training["state"] == "ok" and training["tuned_settings"].startswith("lr=")
    trials = records(trials_table(view))
    assert 2 < training["tuning_trials"] == sum(row["ended"] != "not needed" for row in trials) <= 2 + 2
    assert training["tuning_steps"] == sum(row["steps_trained"] for row in trials)
    assert training["tuning_s"] == pytest.approx(sum(row["training_s"] for row in trials))
    assert sum(row["chosen"] for row in trials) == 1


def trials_of(results: Path) -> list[str]:
    """Return the key of the stage of each good launch of a trial, as another process sees it meanwhile."""
    stages = "launches JOIN stages ON stages.key = stage_key"
    query = f"SELECT stage_key FROM {stages} WHERE kind = 'trial' AND state = 'ok'"
    try:
        with sqlite3.connect(f"file:{results}/bench.sqlite?mode=ro", uri=True, timeout=30) as connection:
            return [str(key) for (key,) in connection.execute(query)]
    except sqlite3.OperationalError:
        return []


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_merged_shards_are_the_whole_run(bench: Any, tmp_path: Path) -> None:
    tuning = '["fixed", { trials = 3, at = [2, 3] }]\nseed = [0, 1]'
    matrix = written(tmp_path, '["adam", "sgd"]', tuning)
    for name, options in (("whole", ()), ("one", ("--shard", "1/2")), ("two", ("--shard", "2/2"))):
        done = bench("run", "--matrix", matrix, "--results", tmp_path / name, *options)
        assert done.returncode == 0, done.stderr
    done = bench("merge", tmp_path / "one", tmp_path / "two", "--into", tmp_path / "merged")
    assert done.returncode == 0, done.stderr
    lines, compared = differences(tmp_path / "whole", tmp_path / "merged")
    assert not lines and compared["cell"] == 12
    whole, merged = (
        {
            (row["optimizer"], row["tuning"], row["seed"]): (row["tuned_settings"], row["tuning_steps"])
            for row in records(training_table(view_of(tmp_path / name)))
        }
        for name in ("whole", "merged")
    )
    assert whole == merged
