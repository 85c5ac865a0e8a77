"""Slots of a Slurm cluster: whose agent calls, whose job ends before it does, and what the run waits for."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from multiprocessing.connection import Client, Connection
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest

from bench.execution.engines.agent import setup_of, source_folder
from bench.execution.engines.slurm import Queue, SlurmCluster, _importable
from bench.matrix.file import Budget


class Jobs(Queue):
    """Stands in for the queue: jobs are in the state that a test gives them."""

    said: ClassVar[Mapping[str, str]] = {}
    asked: ClassVar[list[int]] = []
    cancelled: ClassVar[list[str]] = []

    def submit(self, slot: int) -> Any:
        stderr = self.folder / f"{slot}.err"
        stderr.write_text("slurmstepd: started\nModuleNotFoundError: No module named 'bench'\n")
        number = str(40 + slot)
        return SimpleNamespace(job_id=number, paths=SimpleNamespace(stderr=stderr))

    def states(self, jobs: Sequence[Any]) -> dict[str, str]:
        self.asked.append(len(jobs))
        return {job.job_id: self.said.get(job.job_id, "running") for job in jobs}

    def cancel(self, jobs: Sequence[Any]) -> None:
        self.cancelled.extend(job.job_id for job in jobs)


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
    monkeypatch.setattr(Jobs, "said", {})
    monkeypatch.setattr(Jobs, "cancelled", [])
    monkeypatch.setattr(Jobs, "asked", [])
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
    monkeypatch.setattr(Jobs, "said", {"40": "", "41": "pending (Resources)"})
    assert slots.cluster.look() == {"0": "", "1": ""}
    ends = [slots.channels[place].end for place in "01"]
    assert ends == ["ModuleNotFoundError: No module named 'bench'", ""]
    assert slots.cluster.waiting_for() == "Slurm job 40, ended; 41, pending (Resources)"


def test_where_slurm_does_not_answer_it_is_asked_once_and_no_job_has_ended(
    slots: Slots, monkeypatch: pytest.MonkeyPatch
) -> None:
    away = "unknown (Unable to contact slurm controller)"
    monkeypatch.setattr(Jobs, "said", {"40": away, "41": away})
    slots.cluster.look()
    assert [slots.channels[place].end for place in "01"] == ["", ""]
    assert Jobs.asked[-1] == 2  # at once


def slurm_says(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> Path:
    """Put programs before Slurm's own that do what `script` says; returns where they write their words."""
    log = folder / "words"
    for name in ("squeue", "scancel"):
        program = folder / name
        program.write_text(f'#!/bin/sh\necho {name} "$@" >> {log}\n{script}\n')
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return log


def jobs_of(*ids: str) -> list[SimpleNamespace]:
    return [SimpleNamespace(job_id=id_) for id_ in ids]


def test_slurm_is_asked_once_for_all_jobs_and_one_that_it_does_not_name_has_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = "echo '7 PENDING (Resources)'; echo '8 RUNNING (None)'; echo '9 COMPLETED (None)'"
    log = slurm_says(tmp_path, monkeypatch, said)
    queue = Queue({}, tmp_path, "slurm")
    assert queue.states(jobs_of("7", "8", "9", "10")) == {
        **{"7": "pending (resources)", "8": "running"},
        **{"9": "", "10": ""},
    }
    queue.cancel(jobs_of("7", "8"))
    queue.cancel([])
    asked, cancelled = log.read_text().splitlines()
    assert asked.startswith("squeue --noheader --jobs 7,8,9,10 ") and cancelled == "scancel 7 8"


def test_what_slurm_cannot_say_of_its_jobs_is_not_their_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slurm_says(tmp_path, monkeypatch, "echo 'Unable to contact slurm controller' >&2; exit 1")
    queue = Queue({}, tmp_path, "slurm")
    assert queue.states(jobs_of("7", "8")) == dict.fromkeys(
        ("7", "8"), "unknown (Unable to contact slurm controller)"
    )
    slurm_says(tmp_path, monkeypatch, "echo 'slurm_load_jobs error: Invalid job id specified' >&2; exit 1")
    assert queue.states(jobs_of("7")) == {"7": ""}


def test_jobs_inherit_no_password_of_the_store(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_STORE", "postgresql://bench:secret@db.example.org/bench")
    monkeypatch.setenv("PGPASSWORD", "secret")
    with _importable():
        assert not {"BENCH_STORE", "PGPASSWORD"} & os.environ.keys()
        assert str(source_folder()) in os.environ["PYTHONPATH"].split(os.pathsep)
    assert os.environ["PGPASSWORD"] == "secret" and os.environ["BENCH_STORE"].endswith("/bench")


def test_its_end_cancels_the_jobs_that_are_still_there_and_leaves_no_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Jobs, "said", {"40": ""})
    monkeypatch.setattr(Jobs, "cancelled", [])
    Slots(tmp_path).cluster.close([])
    assert Jobs.cancelled == ["41"] and not list((tmp_path / "cache").iterdir())
