"""Slots of a Slurm cluster: whose agent calls, whose job ends before it does, and what the run waits for."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from multiprocessing.connection import Client, Connection
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest

from bench.execution.engines.agent import setup_of
from bench.execution.engines.slurm import Queue, SlurmCluster
from bench.matrix.file import Budget


class Jobs(Queue):
    """Stands in for the queue: jobs are in the state that a test gives them."""

    states: ClassVar[Mapping[str, str]] = {}
    cancelled: ClassVar[list[str]] = []

    def submit(self, slot: int) -> Any:
        stderr = self.folder / f"{slot}.err"
        stderr.write_text("slurmstepd: started\nModuleNotFoundError: No module named 'bench'\n")
        number = str(40 + slot)
        return SimpleNamespace(
            job_id=number, paths=SimpleNamespace(stderr=stderr), cancel=lambda: self.cancelled.append(number)
        )

    def state(self, job: Any) -> str:
        return self.states.get(job.job_id, "running")


class Slots:
    """A cluster of two slots, and calls to it as agents make them."""

    def __init__(self, results: Path) -> None:
        made: list[Jobs] = []

        def make(*words: Any) -> Jobs:
            made.append(Jobs(*words))
            return made[0]

        self.cluster = SlurmCluster(setup_of(results, Budget()), 2, "local", {}, make)
        self.channels = {place: self.cluster.start(place) for place in self.cluster.look()}
        _, self.port, self.key, _ = made[0].call

    def call(self, slot: int) -> Connection:
        agent = Client(("127.0.0.1", self.port), "AF_INET", authkey=bytes.fromhex(self.key))
        agent.send_bytes(json.dumps({"slot": slot, "host": f"n{slot}"}).encode())
        return agent


@pytest.fixture
def slots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Slots]:
    monkeypatch.setattr(Jobs, "states", {})
    monkeypatch.setattr(Jobs, "cancelled", [])
    found = Slots(tmp_path)
    yield found
    found.cluster.close([])


def wait_for(happens: Callable[[], object]) -> None:
    deadline = time.monotonic() + 30
    while not happens():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_an_agent_that_calls_is_the_one_of_its_slot_until_its_connection_ends(slots: Slots) -> None:
    agent = slots.call(1)
    said = slots.channels["1"].call("describe", {})
    assert said.result(timeout=30) == {"slot": 1, "host": "n1"}
    assert not slots.channels["0"].call("describe", {}).done()
    assert slots.channels["1"].end == ""
    agent.close()
    wait_for(lambda: slots.channels["1"].end == "the connection to its agent ended")


def test_a_second_agent_of_a_slot_is_sent_away(slots: Slots) -> None:
    agent = slots.call(0)
    slots.channels["0"].call("describe", {}).result(timeout=30)
    again = slots.call(0)  # Slurm has started the job again
    with pytest.raises((EOFError, OSError)):
        again.recv_bytes()
    assert slots.channels["0"].end == ""
    agent.close()


def test_a_job_that_ends_before_its_agent_calls_leaves_its_last_words(
    slots: Slots, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Jobs, "states", {"40": "", "41": "pending (Resources)"})
    assert slots.cluster.look() == {"0": "", "1": ""}
    ends = [slots.channels[place].end for place in "01"]
    assert ends == ["ModuleNotFoundError: No module named 'bench'", ""]
    assert slots.cluster.waiting_for() == "Slurm job 40, ended; 41, pending (Resources)"


def test_where_slurm_does_not_answer_it_is_asked_once_and_no_job_has_ended(
    slots: Slots, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Jobs, "states", {"40": "unknown (Unable to contact slurm controller)", "41": ""})
    slots.cluster.look()
    assert [slots.channels[place].end for place in "01"] == ["", ""]


def test_its_end_cancels_the_jobs_that_are_still_there_and_leaves_no_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Jobs, "states", {"40": ""})
    monkeypatch.setattr(Jobs, "cancelled", [])
    Slots(tmp_path).cluster.close([])
    assert Jobs.cancelled == ["41"] and not list((tmp_path / "cache").iterdir())
