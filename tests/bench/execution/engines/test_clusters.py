"""Whole runs on real clusters of two nodes: the same cells, states and exact metrics as on this machine."""

from __future__ import annotations

import importlib.util
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from tests.kills.processes import MATRIX, all_gone, launches
from tests.support.clusters import Cluster, cores, no_slurm, pinned, ray_cluster, slurm_cluster
from tests.support.same_runs import differences

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def _absent(module: str) -> str:
    return "" if importlib.util.find_spec(module) else f"needs {module}"


CLUSTERS: dict[str, tuple[str, Callable[[], AbstractContextManager[Cluster]]]] = {
    "ray": (_absent("ray"), ray_cluster),
    "slurm": (_absent("submitit") or no_slurm(), slurm_cluster),
}


@pytest.fixture(params=[pytest.param(name, marks=pytest.mark.xdist_group(name)) for name in CLUSTERS])
def cluster(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    absent, start = CLUSTERS[request.param]
    if absent:
        pytest.skip(absent)
    with start() as found:
        yield found


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the results of matrix `ci` on one core of this machine."""
    results = tmp_path_factory.mktemp("local")
    words = pinned(cores()[0], command("ci", results))
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    return results


def command(matrix: object, results: Path, *options: str) -> list[str]:
    return [
        sys.executable,
        "-m",
        "bench",
        "run",
        "-m",
        str(matrix),
        "--smoke",
        "--results",
        str(results),
        *options,
    ]


def start(cluster: Cluster, matrix: object, results: Path, *options: str) -> subprocess.Popen[str]:
    # A shell that starts the tests in the background makes them, and all they start, ignore the signal.
    return subprocess.Popen(
        command(matrix, results, "--engine", cluster.engine, *options),
        env=cluster.environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def wait_for_launches(runner: subprocess.Popen[str], results: Path, number: int) -> None:
    while launches(results) < number and runner.poll() is None:
        time.sleep(0.05)


def test_a_cluster_finds_what_this_machine_finds(cluster: Cluster, local: Path, tmp_path: Path) -> None:
    runner = start(cluster, "ci", tmp_path)
    _, errors = runner.communicate(timeout=500)
    assert runner.returncode == 0, errors[-4000:]
    assert differences(local, tmp_path) == ([], {"cell": 12, "state": 30, "exact metric": 89})
    assert all_gone(tmp_path)


def test_a_run_goes_on_without_a_node_that_is_killed(cluster: Cluster, local: Path, tmp_path: Path) -> None:
    runner = start(cluster, "ci", tmp_path)
    wait_for_launches(runner, tmp_path, 8)
    cluster.kill_second()
    _, errors = runner.communicate(timeout=500)
    assert runner.returncode == 0, errors[-4000:]
    assert differences(local, tmp_path)[0] == []
    assert all_gone(tmp_path)


def test_ctrl_c_ends_the_work_on_every_node_and_the_run_can_be_resumed(
    cluster: Cluster, tmp_path: Path
) -> None:
    runner = start(cluster, MATRIX, tmp_path)
    wait_for_launches(runner, tmp_path, 2)
    runner.send_signal(signal.SIGINT)
    _, errors = runner.communicate(timeout=120)
    assert runner.returncode == 130, errors
    assert errors.splitlines()[-1] == "bench: interrupted; run the same command to resume"
    assert all_gone(tmp_path)
    again = start(cluster, MATRIX, tmp_path)
    _, errors = again.communicate(timeout=500)
    assert again.returncode == 0 and ": resumed" in errors, errors[-4000:]


def test_artifacts_move_through_a_url_and_later_runs_reuse_them(cluster: Cluster, tmp_path: Path) -> None:
    url = ("--artifacts", f"file://{tmp_path}/bucket")
    runner = start(cluster, MATRIX, tmp_path / "first", *url)
    _, errors = runner.communicate(timeout=500)
    assert runner.returncode == 0, errors[-4000:]
    assert not (tmp_path / "first" / "artifacts").exists(), "the nodes used the runner's folder"
    words = pinned(cores()[0], command(MATRIX, tmp_path / "second", *url))
    again = subprocess.run(words, capture_output=True, text=True, check=False)
    assert again.returncode == 0 and again.stderr.count("ok (reused)") == 4, again.stderr
    assert differences(tmp_path / "first", tmp_path / "second")[0] == []
