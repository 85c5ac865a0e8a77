"""Agents: who reaches one, what it says of its node, and its end with the runner's."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from multiprocessing import AuthenticationError
from multiprocessing.connection import Client
from pathlib import Path
from queue import Queue
from typing import Any

import psutil
import pytest

from bench.execution.engines.agent import PERFORMANCE_VARIABLES, Agent, Setup, setup_of
from bench.execution.engines.connection import Link, Reception
from bench.execution.resources import machine_id
from bench.instruments.variables import DECIDING, deciding_variables
from bench.matrix.file import Budget
from bench.records import Request, as_json
from bench.results.artifacts import RECORD
from tests.kills.processes import all_gone

KEY = "ab" * 32

REQUEST: Request[Any] = Request(
    *("no such kind", "cd" * 32, "net @ cpu", {}, {}, {}, (), "results", "run-1", 0, "cpu", 1),
    *((min(os.sched_getaffinity(0)),), 2**34, 60.0),
)

SERVE = (
    "import json, sys; from bench.execution.engines.connection import serve; serve(*json.loads(sys.argv[1]))"
)


class Runner:
    """The runner's side: agents that have called, in `links`."""

    def __init__(self) -> None:
        self.links: Queue[Link] = Queue()
        self.ended: Queue[None] = Queue()
        self.reception = Reception(
            lambda connection, hello: self.links.put(Link(connection, hello, lambda: self.ended.put(None)))
        )

    def start_agent(self, setup: Setup, temporary: Path | None = None) -> subprocess.Popen[str]:
        key = self.reception.key.hex()
        words = json.dumps([["127.0.0.1"], self.reception.port, key, as_json(setup), 0])
        places = {} if temporary is None else {"TMPDIR": str(temporary)}
        return subprocess.Popen(
            [sys.executable, "-c", SERVE, words],
            env={**os.environ, "OMP_NUM_THREADS": "7", **places},
            text=True,
        )


@pytest.fixture
def runner() -> Iterator[Runner]:
    found = Runner()
    yield found
    found.reception.close()


@pytest.mark.parametrize(
    "end",
    [
        pytest.param(lambda link, agent: link.close(), id="its runner goes"),
        pytest.param(lambda link, agent: agent.terminate(), id="its job is cancelled"),
    ],
)
def test_an_agent_starts_servers_and_ends_with_its_connection_or_its_job(
    runner: Runner, tmp_path: Path, end: Callable[[Link, subprocess.Popen[str]], None]
) -> None:
    agent = runner.start_agent(setup_of(tmp_path, Budget()))
    link = runner.links.get(timeout=120)
    assert link.hello["problem"] == "" and link.hello["slot"] == 0
    assert link.hello["cpus"] == sorted(os.sched_getaffinity(0))
    assert link.hello["cores"] == len(link.hello["cpus"]) == len(link.hello["physical"])
    assert link.hello["machine"] == machine_id()
    cpu = link.hello["cpus"][-1]
    start = {"modules": [], "cpus": [cpu]}
    assert link.call("start", start).result(timeout=120) == {"server": 0, "end": ""}
    process = psutil.Process(agent.pid)
    kept = [each.cpu_affinity() for each in (process, *process.children())]
    assert kept == [[cpu], [cpu]], "another node may have the others"
    assert "KeyError" in link.call("run", {"server": 5, "request": {}}).result(timeout=60)["fault"]
    end(link, agent)
    assert agent.wait(timeout=60) == 0
    runner.ended.get(timeout=60)
    assert all_gone(tmp_path)
    with pytest.raises(Exception, match="its agent has ended"):
        link.call("start", start).result()


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"sources": "0"}, "it has another version of this suite"),
        ({"results": "/nowhere/results"}, "it does not see the results folder /nowhere/results"),
        ({"folder": "/nowhere"}, "it does not see the folder /nowhere: No such file or directory"),
    ],
)
def test_a_node_that_lacks_something_says_what(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, change: dict[str, Any], problem: str
) -> None:
    setup = replace(setup_of(tmp_path, Budget()), **change)
    monkeypatch.setattr(os, "environ", dict(os.environ))  # the agent's own, in its process
    with closing(Agent(setup)) as agent:
        assert agent.describe()["problem"].startswith(problem)


def test_a_node_gets_every_variable_that_is_part_of_the_runners_keys(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in DECIDING:
        monkeypatch.setenv(name, "1")
    assert setup_of(tmp_path, Budget()).environment.items() >= deciding_variables().items()


@pytest.mark.parametrize(
    ("bound", "job", "cores"), [(1, "", 1), (0, "1", 1), (0, "", None), (10_000, "", None), (1, "2", 1)]
)
def test_a_node_has_as_many_cores_as_its_cluster_says_and_no_more_than_its_process_may_use(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, bound: int, job: str, cores: int | None
) -> None:
    monkeypatch.setattr(os, "environ", dict(os.environ))
    monkeypatch.delenv("SLURM_CPUS_ON_NODE", raising=False)
    if job:
        monkeypatch.setenv("SLURM_CPUS_ON_NODE", job)
    with closing(Agent(replace(setup_of(tmp_path, Budget()), cpus=bound))) as agent:
        found = agent.describe()
    allowed = sorted(os.sched_getaffinity(0))
    assert found["cores"] == (cores or len(allowed)) and list(found["cpus"]) == allowed


def test_a_node_without_space_for_its_work_says_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, small_disk: Callable[[int], Path]
) -> None:
    monkeypatch.setattr(os, "environ", dict(os.environ))
    monkeypatch.setattr(tempfile, "tempdir", str(small_disk(64 * 1024)))
    with closing(Agent(setup_of(tmp_path, Budget()))) as agent:
        assert agent.call("describe", {})["fault"].startswith(f"OSError: no space left for {tmp_path}/disk/")


def test_a_node_that_does_not_reach_the_url_of_artifacts_says_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(os, "environ", dict(os.environ))
    with closing(Agent(replace(setup_of(tmp_path, Budget()), artifacts="file:///proc/nowhere"))) as agent:
        fault = agent.call("describe", {})["fault"]
    assert fault.startswith("--artifacts file:///proc/nowhere: ") and "\n" not in fault


@pytest.mark.slow
def test_a_url_that_refuses_and_a_full_disk_of_its_own_are_faults_of_a_node_and_not_of_a_stage(
    runner: Runner, tmp_path: Path, small_disk: Callable[[int], Path]
) -> None:
    record = tmp_path / "bucket" / KEY[:2] / KEY / RECORD
    record.mkdir(parents=True)  # nobody, not even root, can read it
    setup = replace(setup_of(tmp_path, Budget()), artifacts=f"file://{tmp_path}/bucket")
    runner.start_agent(setup, temporary=small_disk(64 * 2**20))
    link = runner.links.get(timeout=120)
    link.call("start", {"modules": [], "cpus": link.hello["cpus"]}).result(timeout=120)

    def run(**parents: str) -> dict[str, Any]:
        request = replace(REQUEST, parents=parents)
        words = {"server": 0, "request": as_json(request)}
        return link.call("run", words).result(timeout=120)

    assert run(train=KEY)["fault"].startswith(f"--artifacts file://{tmp_path}/bucket: ")
    assert run()["result"]["state"] == "failed"
    small_disk(256 * 1024)
    assert run()["fault"].startswith("OSError: ")
    link.close()


def test_nobody_without_the_key_is_let_in_and_who_says_nothing_keeps_none_waiting(runner: Runner) -> None:
    silent = socket.create_connection(("127.0.0.1", runner.reception.port))
    with pytest.raises((AuthenticationError, OSError, EOFError)):
        Client(("127.0.0.1", runner.reception.port), "AF_INET", authkey=b"another")
    assert runner.links.empty()
    ours = Client(("127.0.0.1", runner.reception.port), "AF_INET", authkey=runner.reception.key)
    ours.send_bytes(b'{"slot": 0}')
    assert runner.links.get(timeout=60).hello == {"slot": 0}
    ours.close()
    silent.close()


def test_a_node_has_the_runner_s_variables_and_no_others_that_decide_a_result(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in [name for name in os.environ if name.startswith(PERFORMANCE_VARIABLES)]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("OMP_WAIT_POLICY", "passive")
    monkeypatch.setenv("HOME", "/home/somebody")
    monkeypatch.setenv("BENCH_STORE", "postgresql://bench:secret@db.example.org/bench")  # the runner's alone
    assert setup_of(tmp_path, Budget()).environment == {"OMP_WAIT_POLICY": "passive"}
