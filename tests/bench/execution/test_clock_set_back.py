"""A wall clock that is set back changes neither durations nor which run is the latest."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bench.costs.timeline import Timeline, now_s
from bench.results.store import Store

SMALL = "optimizer=adam,compression=none,backend=cpu-eager"
HOUR_S = 3600


@pytest.fixture
def wall_clock(tmp_path) -> tuple[dict[str, str], Path]:
    """Give an environment whose clock can be set back, and the file that does so once it is there."""
    compiler = shutil.which("cc")
    if compiler is None or not sys.platform.startswith("linux"):
        pytest.skip("needs a C compiler and a loader that preloads")
    library, set_back = tmp_path / "clock.so", tmp_path / "set_back"
    source = Path(__file__).with_name("clock_set_back.c")
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    environment = {**os.environ, "LD_PRELOAD": str(library), "CLOCK_SET_BACK": str(set_back)}
    read = [sys.executable, "-c", "import time; print(time.time())"]
    set_back.touch()
    seen_s = float(subprocess.run(read, env=environment, capture_output=True, check=True).stdout)
    set_back.unlink()
    if time.time() - seen_s < HOUR_S:
        pytest.skip("this Python reads the clock past the preloaded library")
    return environment, set_back


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_clock_set_back_during_a_run_and_before_the_next(wall_clock, tmp_path):
    environment, set_back = wall_clock
    results = tmp_path / "results"
    command = [sys.executable, "-m", "bench", "run", "--matrix", "ci", "--smoke", "--filter", SMALL]
    command += ["--results", str(results)]
    began = time.monotonic()
    first = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    assert first.stderr is not None
    told: list[str] = []
    for line in first.stderr:
        told.append(line)
        if line.startswith("[1/"):  # its first stage has ended
            break
    set_back.touch()
    told += list(first.stderr)
    assert first.wait(timeout=500) == 0, "".join(told)
    elapsed_s = time.monotonic() - began
    subprocess.run(command, env=environment, capture_output=True, check=True, timeout=500)

    store = Store.open(results)
    first_run, second_run = store.runs().to_dict("records")
    assert second_run["started_s"] < first_run["started_s"], "the clock was not set back"
    assert store.find_run(None) == second_run["id"]
    for run in (first_run, second_run):
        launches = store.launches(run["id"])
        assert (launches["body_s"] >= 0).all() and (launches["wall_s"] >= 0).all()
        assert (launches["wall_s"] < elapsed_s).all()
        assert launches["start_s"].max() - launches["start_s"].min() < elapsed_s
        assert all(seconds >= 0 for seconds in store.overheads(run["id"]).values())
        assert sum(store.overheads(run["id"]).values()) < elapsed_s


def test_what_a_timeline_explains_adds_up_to_the_whole():
    start_s = now_s()
    timeline = Timeline(start_s)
    timeline.body(start_s + 1, 2)
    timeline.add_part("imports", start_s, start_s + 1.5)
    assert timeline.outside(start_s + 4) == pytest.approx(
        {"imports": 1.0, "forking, handing over, worker start and exit": 1.0}
    )
