"""Two runners at once on one store; one of them is killed in the middle, or its server goes away."""

from __future__ import annotations

import re
import signal
import subprocess
import time
from collections import Counter
from pathlib import Path

import pytest

from bench.results.store import Store
from tests.kills.harness import faults
from tests.kills.processes import all_gone, start
from tests.support.postgresql import database_of

WAIT_S = 300.0


def launches(results: Path, url: str) -> int:
    """Count the launches of a folder's run so far."""
    store = Store.find(results, url)
    if store is None:
        return 0
    try:
        runs = store.runs()
        own = runs[runs["folder"] == store.folder]["id"].tolist()
        return len(store.launch_results(own[-1])) if own else 0
    finally:
        store.close()


def wait_for_launches(runner: subprocess.Popen[str], results: Path, url: str, count: int) -> None:
    deadline = time.monotonic() + WAIT_S
    while launches(results, url) < count:
        assert runner.poll() is None, runner.communicate()[1]
        assert time.monotonic() < deadline, "the run hangs"
        time.sleep(0.1)


def end(runner: subprocess.Popen[str]) -> str:
    """Wait until a runner has ended well; return what it said."""
    _, errors = runner.communicate(timeout=WAIT_S)
    assert runner.returncode == 0, errors[-2000:]
    return errors


@pytest.mark.slow
def test_of_two_runners_at_once_a_killed_one_resumes_and_nothing_is_lost_or_twice(server_url, tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    options = ("--store", server_url)
    killed, other = start(first, *options), start(second, *options)
    wait_for_launches(killed, first, server_url, 3)
    wait_for_launches(other, second, server_url, 1)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    before = launches(first, server_url)
    assert all_gone(first)
    again = start(first, *options)
    assert "resumed" in end(again)
    end(other)
    assert list(faults(first, Counter(runner=1), None, url=server_url)) == []
    assert list(faults(second, Counter(), None, url=server_url)) == []
    store = Store.open(first, server_url, create=False)
    assert before >= 3 and len(store.runs()) == 2 == store.runs()["folder"].nunique()
    store.close()


@pytest.mark.slow
def test_a_run_whose_server_goes_away_says_how_to_resume_it_and_shows_no_password(own_server, tmp_path):
    url = own_server.new_strict_store()
    results = tmp_path / "results"
    runner = start(results, "--store", url)
    wait_for_launches(runner, results, url, 2)
    own_server.stop()
    _, errors = runner.communicate(timeout=WAIT_S)
    assert runner.returncode == 2, errors
    assert re.search(
        r"\nbench: postgresql://[^\n]+no connection[^\n]+the same command resumes run \S+\n$", errors
    )
    assert all_gone(results)
    own_server.start()
    errors += end(start(results, "--store", url))
    assert "resumed" in errors
    assert list(faults(results, Counter(), None, url=url)) == []
    kept = [path for path in results.rglob("*") if path.is_file() and b"s3cret" in path.read_bytes()]
    assert not kept and "s3cret" not in errors
    rows = own_server.sql("SELECT command, request FROM bench.runs", database_of(url))
    assert "s3cret" not in str(rows) and "--store" in str(rows)
