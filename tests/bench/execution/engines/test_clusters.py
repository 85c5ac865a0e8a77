"""Whole runs on real clusters of two nodes: the same cells, states and exact metrics as on this machine."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, suppress
from pathlib import Path

import psutil
import pytest

from bench.execution.engines.cluster import MAX_ENDS
from bench.execution.resources import physical_core
from bench.results.store import Store
from tests.kills.processes import MATRIX, all_gone, launches
from tests.support.clusters import Cluster, no_slurm, pinned, ray_cluster, slurm_cluster
from tests.support.object_store import BUCKET, object_store
from tests.support.same_runs import differences

ROUNDS = Path(__file__).with_name("rounds.toml")

NODES_WITH_A_CORE = min(2, len({physical_core(cpu) for cpu in os.sched_getaffinity(0)}))
"""Of two nodes of one core each on this machine: those that do not stand by."""

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


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep what holds for a day out of the cache of whoever runs the tests, and away from smoke runs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BENCH_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the results of matrix `ci` on one core of this machine."""
    results = tmp_path_factory.mktemp("local")
    finish(pinned(command("ci", results)))
    return results


def command(matrix: object, results: Path, *options: str, smoke: bool = True) -> list[str]:
    words = [sys.executable, "-m", "bench", "run", "-m", str(matrix), "--results", str(results)]
    return [*words, *options, *(["--smoke"] if smoke else [])]


def finish(words: Sequence[str]) -> str:
    """Run a command that must succeed, and return what it says."""
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stderr


def start(
    cluster: Cluster, matrix: object, results: Path, *options: str, smoke: bool = True
) -> subprocess.Popen[str]:
    # A shell that starts the tests in the background makes them, and all they start, ignore the signal.
    return subprocess.Popen(
        command(matrix, results, "--engine", cluster.engine, *options, smoke=smoke),
        env=cluster.environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def launched(results: Path) -> tuple[dict[str, int], set[str]]:
    """Return how many good launches each timed stage has, and the tags of their nodes."""
    with closing(Store.open(results, create=False)) as store:
        run = store.find_run(None)
        timed = {stage.key: f"{stage.kind} {stage.label}" for stage in store.stages(run) if stage.timed}
        rows = store.launches(run)
    rows = rows[rows["stage_key"].isin(timed) & (rows["state"] == "ok")]
    counts = Counter(timed[key] for key in rows["stage_key"])
    return dict(counts), {str(found["node"]) for found in rows["dynamic"]}


def wait_for_launches(runner: subprocess.Popen[str], results: Path, number: int) -> None:
    while launches(results, "ok") < number and runner.poll() is None:
        time.sleep(0.05)


def test_a_cluster_finds_what_this_machine_finds(cluster: Cluster, local: Path, tmp_path: Path) -> None:
    runner = start(cluster, "ci", tmp_path)
    _, errors = runner.communicate(timeout=500)
    assert runner.returncode == 0, errors[-4000:]
    lines, compared = differences(local, tmp_path)
    assert lines == [] and compared["exact metric"] >= 89
    assert (compared["cell"], compared["state"]) == (12, 30)
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
    said = finish(pinned(command(MATRIX, tmp_path / "second", *url)))
    assert said.count("ok (reused)") == 4, said
    assert differences(tmp_path / "first", tmp_path / "second")[0] == []


def test_artifacts_move_through_a_bucket_of_s3(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("submitit")
    with object_store() as environment:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        url = ("--artifacts", f"s3://{BUCKET}/artifacts")
        finish(command(MATRIX, tmp_path / "first", "--engine", "slurm:2,cluster=local", *url))
        assert not (tmp_path / "first" / "artifacts").exists(), "the nodes used the runner's folder"
        cores = max(1, len(os.sched_getaffinity(0)) // 2)
        said = finish(pinned(command(MATRIX, tmp_path / "second", *url), cores=cores))
    assert said.count("ok (reused)") == 4, said
    assert differences(tmp_path / "first", tmp_path / "second")[0] == []


def test_rounds_looks_and_repeats_on_a_cluster_find_what_they_find_here(
    cluster: Cluster, tmp_path: Path
) -> None:
    finish(pinned(command(ROUNDS, tmp_path / "here", smoke=False)))
    runner = start(cluster, ROUNDS, tmp_path / "there", smoke=False)
    _, errors = runner.communicate(timeout=800)
    assert runner.returncode == 0, errors[-4000:]
    assert differences(tmp_path / "here", tmp_path / "there")[0] == []
    counts, nodes = launched(tmp_path / "there")
    assert len(counts) == 2 and all(6 <= count <= 8 for count in counts.values()), counts
    assert len(nodes) == NODES_WITH_A_CORE


def test_jobs_on_this_machine_have_a_share_of_its_cores_each(tmp_path: Path) -> None:
    pytest.importorskip("submitit")
    finish(command(MATRIX, tmp_path / "jobs", "--engine", "slurm:2,cluster=local"))
    assert all_gone(tmp_path)
    finish(pinned(command(MATRIX, tmp_path / "here"), cores=max(1, len(os.sched_getaffinity(0)) // 2)))
    assert differences(tmp_path / "here", tmp_path / "jobs")[0] == []


def test_a_cluster_of_ray_that_wants_a_token_says_how_to_give_it(tmp_path: Path) -> None:
    pytest.importorskip("ray", minversion="2.60")  # an older one may know no tokens
    with ray_cluster() as cluster:
        for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN_PATH"):
            del cluster.environment[name]
        runner = start(cluster, MATRIX, tmp_path)
        _, errors = runner.communicate(timeout=300)
    assert runner.returncode == 2, errors[-4000:]
    assert "wants a token; set RAY_AUTH_MODE=token" in errors


def test_nodes_of_one_machine_that_both_have_all_its_cores_work_one_at_a_time(tmp_path: Path) -> None:
    pytest.importorskip("ray")
    with ray_cluster(cpus=None) as cluster:
        runner = start(cluster, MATRIX, tmp_path)
        _, errors = runner.communicate(timeout=500)
    assert runner.returncode == 0, errors[-4000:]
    assert "1 node must stand by: another node of the same machine has the cores" in errors
    assert len(launched(tmp_path)[1]) == 1


def test_ray_starts_here_without_an_address_and_an_agent_that_is_killed_is_replaced_each_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("ray")
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    # On one core a stage that was killed ends before the next kill: on two it could be killed each time.
    finish(pinned(command(MATRIX, tmp_path / "here"), cores=1))
    words = pinned(command(MATRIX, tmp_path / "ray", "--engine", "ray"), cores=1)
    runner = subprocess.Popen(words, stderr=subprocess.PIPE, text=True)
    for kill in range(MAX_ENDS + 1):
        wait_for_launches(runner, tmp_path / "ray", 2 + kill)
        kill_agent(runner)
    _, errors = runner.communicate(timeout=500)
    assert runner.returncode == 0, errors[-4000:]
    assert differences(tmp_path / "here", tmp_path / "ray")[0] == []
    assert all_gone(tmp_path)


def kill_agent(runner: subprocess.Popen[str]) -> None:
    """Kill the agent of Ray's only node, once there is one."""
    while runner.poll() is None:
        for process in psutil.Process(runner.pid).children(recursive=True):
            with suppress(psutil.Error):
                if process.cmdline()[:1] and process.cmdline()[0].startswith("ray::RayAgent"):
                    process.kill()
                    return
        time.sleep(0.05)


def test_a_refused_job_costs_its_node_until_slurm_takes_it_and_the_run_goes_on(tmp_path: Path) -> None:
    if absent := CLUSTERS["slurm"][0]:
        pytest.skip(absent)
    with slurm_cluster() as cluster:
        runner = start(cluster, ROUNDS, tmp_path, smoke=False)
        wait_for_launches(runner, tmp_path, 2)
        cluster.call("scontrol", "update", "PartitionName=all", "State=DRAIN")
        cluster.call("scancel", cluster.call("squeue", "--noheader", "--format=%i").split()[0])
        _, errors = runner.communicate(timeout=800)
    assert runner.returncode == 0, errors[-4000:]
    assert all(6 <= count <= 8 for count in launched(tmp_path)[0].values())
    logs = "".join(path.read_text() for path in tmp_path.rglob("*.log"))
    assert "Required partition not available" in logs, logs[-4000:]
