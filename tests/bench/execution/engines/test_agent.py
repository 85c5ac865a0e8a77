"""Agents: who reaches one, what it says of its node, and its end with the runner's."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from multiprocessing import AuthenticationError
from multiprocessing.connection import Client
from pathlib import Path
from queue import Queue
from typing import Any

import pytest

from bench.execution.engines.agent import PERFORMANCE_VARIABLES, Agent, Setup, setup_of
from bench.execution.engines.connection import Link, Reception
from bench.matrix.file import Budget
from bench.records import as_json
from tests.kills.processes import all_gone

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

    def start_agent(self, setup: Setup, key: bytes | None = None) -> subprocess.Popen[str]:
        chosen = (key or self.reception.key).hex()
        words = json.dumps([["127.0.0.1"], self.reception.port, chosen, as_json(setup), 0])
        return subprocess.Popen(
            [sys.executable, "-c", SERVE, words], env={**os.environ, "OMP_NUM_THREADS": "7"}, text=True
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
    assert link.call("start", {"modules": []}).result(timeout=120) == {"server": 0, "end": ""}
    assert "KeyError" in link.call("run", {"server": 5, "request": {}}).result(timeout=60)["fault"]
    end(link, agent)
    assert agent.wait(timeout=60) == 0
    runner.ended.get(timeout=60)
    assert all_gone(tmp_path)
    with pytest.raises(Exception, match="its agent has ended"):
        link.call("start", {"modules": []}).result()


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
    assert setup_of(tmp_path, Budget()).environment == {"OMP_WAIT_POLICY": "passive"}
