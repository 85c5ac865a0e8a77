"""Slurm as an engine: one job for each node, which has it alone (`--exclusive`) and serves requests there.

A job for each request would wait in the queue each time, and import PyTorch each time. The jobs are
submitted by submitit; each calls the runner back over the network.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from bench.errors import BenchError
from bench.execution.engines.agent import Setup, source_folder
from bench.execution.engines.cluster import ClusterEngine
from bench.execution.engines.connection import Link, Reception, own_addresses, serve
from bench.execution.engines.remote import Channel
from bench.records import as_json
from bench.results.folder import STORE_VARIABLE

_ANSWER_S = 10.0
"""How long Slurm may take to say what a job does."""

_END_S = 5.0

_UNKNOWN = "unknown"
"""The state of a job where Slurm does not answer."""

_SECRETS = (STORE_VARIABLE, "PGPASSWORD")
"""Environment variables with passwords of the store, which only the runner reads."""

_ENDED = ("completed", "cancelled", "failed", "timeout", "node_fail", "out_of_memory", "boot_fail", "preempt")


def slurm_engine(
    setup: Setup, say: Callable[[str], None], nodes: int, minutes: int, cluster: str, **options: str
) -> ClusterEngine:
    """Submit a job for each node, and wait for the first one."""
    if cluster == "local":  # each job has a share of this machine
        setup = replace(setup, cpus=max(1, len(os.sched_getaffinity(0)) // nodes))
    return ClusterEngine(SlurmCluster(setup, nodes, cluster, _settings(minutes, cluster, options)), say)


@dataclass(frozen=True)
class Queue:
    """How jobs are submitted and looked at: Slurm's own, or submitit's stand-in on this machine."""

    settings: Mapping[str, Any]
    folder: Path
    cluster: str
    call: tuple[Any, ...] = field(default=())

    def submit(self, slot: int) -> Any:
        """Submit the job of a slot; raises BenchError where it is refused."""
        import submitit

        try:
            executor = submitit.AutoExecutor(self.folder, cluster=self.cluster)
            executor.update_parameters(**self.settings)
            with _importable():
                return executor.submit(serve, *self.call, slot)
        except Exception as error:  # of submitit and of sbatch, as a partition that does not exist
            raise BenchError(f"--engine slurm: {_last_line(str(error))}") from None

    def states(self, jobs: Sequence[Any]) -> dict[str, str]:
        """Return each job's state and why it waits, by its id; empty where it has ended.

        Slurm is asked once for all of them.
        """
        if self.cluster == "local":
            return {str(job.job_id): "" if job.done(force_check=True) else "running" for job in jobs}
        ids = [str(job.job_id) for job in jobs]
        if not ids:
            return {}
        words = ["squeue", "--noheader", "--jobs", ",".join(ids), "--format", "%i %T (%r)"]
        try:
            done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=_ANSWER_S)
        except subprocess.TimeoutExpired:
            return dict.fromkeys(ids, f"{_UNKNOWN} (no answer within {_ANSWER_S:g} s)")
        if done.returncode and "Invalid job id" not in done.stderr:  # of a job that has ended a while ago
            return dict.fromkeys(ids, f"{_UNKNOWN} ({_last_line(done.stderr)})")
        lines = (line.split(maxsplit=1) for line in done.stdout.splitlines())
        found = {line[0]: line[1].lower() for line in lines if len(line) > 1}
        return {id_: _state(found.get(id_, "")) for id_ in ids}

    def cancel(self, jobs: Sequence[Any]) -> None:
        """Cancel jobs; one that has ended meanwhile is no fault."""
        if self.cluster == "local":
            for job in jobs:
                with suppress(Exception):
                    job.cancel()
        elif jobs:
            words = ["scancel", *(str(job.job_id) for job in jobs)]
            with suppress(subprocess.TimeoutExpired):
                subprocess.run(words, capture_output=True, check=False, timeout=_ANSWER_S)


class _Job:
    """The way to the agent of a job; `state` is what the queue said last of one that has not called."""

    def __init__(self, queue: Queue) -> None:
        self.end = ""
        self.state = "submitted"
        self.job: Any = None
        self._queue = queue
        self._link: Link | None = None
        self._hello: Future[dict[str, Any]] = Future()

    def connect(self, connection: Connection, hello: dict[str, Any]) -> None:
        """Take up the agent that has called."""
        self._link = Link(connection, hello, self._left)
        self._hello.set_result(hello)

    @property
    def has_called(self) -> bool:
        return self._hello.done()

    @property
    def is_awaited(self) -> bool:
        """Whether only the queue knows of the job's end; that of others shows in their connection."""
        return not self.has_called and not self.end

    def now(self, state: str) -> None:
        """Take note of what the queue says of a job whose agent has not called; empty if it has ended."""
        self.state = state
        if not state:
            self.end = _last_words(self.job) or "its job ended"

    def call(self, what: str, arguments: Mapping[str, Any]) -> Future[dict[str, Any]]:
        if what == "describe":  # an agent does so as it calls
            return self._hello
        assert self._link is not None, "only a node that has taken part is called"
        return self._link.call(what, arguments)

    def hang_up(self) -> None:
        """End the agent; its job ends by itself then."""
        if self._link is not None:
            self._link.close()

    def close(self) -> None:
        """Give the job up, whether it waits or runs."""
        self.hang_up()
        if self.job is not None:
            self._queue.cancel([self.job])

    def _left(self) -> None:
        self.end = self.end or "the connection to its agent ended"


class SlurmCluster:
    """Slots of a Slurm cluster, by their numbers: each is a node's worth of it, in a job of its own."""

    grows = False

    def __init__(
        self,
        setup: Setup,
        nodes: int,
        cluster: str,
        settings: Mapping[str, Any],
        make_queue: Callable[..., Queue] = Queue,
    ) -> None:
        cache = Path(setup.results) / "cache"
        cache.mkdir(parents=True, exist_ok=True)
        # Nobody else may read it: the run's key is in it.
        self._folder = Path(tempfile.mkdtemp(prefix="slurm-", dir=cache))
        self._slots = [str(slot) for slot in range(nodes)]
        self._jobs: dict[str, _Job] = {}
        self._reception = Reception(self._received, "127.0.0.1" if cluster == "local" else "")
        call = (own_addresses(), self._reception.port, self._reception.key.hex(), as_json(setup))
        self._queue = make_queue(settings, self._folder, cluster, call)

    def look(self) -> Mapping[str, str]:
        awaited = [job for job in self._jobs.values() if job.is_awaited]
        states = self._queue.states([job.job for job in awaited])
        for job in awaited:
            job.now(states[str(job.job.job_id)])
        return dict.fromkeys(self._slots, "")

    def start(self, place: str) -> Channel:
        job = _Job(self._queue)
        self._jobs[place] = job  # before its agent may call
        try:
            job.job = self._queue.submit(int(place))
        except BenchError:
            del self._jobs[place]
            raise
        return job

    def waiting_for(self) -> str:
        waiting = [job for job in self._jobs.values() if not job.has_called]
        states = [f"{job.job.job_id}, {job.state or 'ended'}" for job in waiting]
        return f"Slurm job {'; '.join(states)}" if states else "Slurm to take a job"

    def close(self, channels: Collection[Channel]) -> None:
        self._reception.close()
        for job in self._jobs.values():
            job.hang_up()
        until_s = time.monotonic() + _END_S
        called = [job.job for job in self._jobs.values() if job.has_called]
        while time.monotonic() < until_s and any(self._queue.states(called).values()):
            time.sleep(0.2)  # a job whose agent has ended ends by itself
        every = [job.job for job in self._jobs.values()]
        states = self._queue.states(every)
        self._queue.cancel([job for job in every if states[str(job.job_id)]])
        shutil.rmtree(self._folder, ignore_errors=True)

    def _received(self, connection: Connection, hello: dict[str, Any]) -> None:
        """Take up an agent that has called; the reception's thread does."""
        job = self._jobs.get(str(hello["slot"]))
        if job is None or job.has_called or job.end:
            connection.close()  # of a job that was given up, or that Slurm has started again
        else:
            job.connect(connection, hello)


def _settings(minutes: int, cluster: str, options: Mapping[str, str]) -> dict[str, Any]:
    given = {f"slurm_{name}": value for name, value in options.items() if value}
    if cluster == "local":
        return {"timeout_min": minutes}
    # Without srun, since a step would have one of the node's cores only.
    whole = {"slurm_exclusive": True, "slurm_mem": "0", "slurm_use_srun": False}
    return {"timeout_min": minutes, "name": "bench", **whole, **given}


@contextmanager
def _importable() -> Iterator[None]:
    """Let jobs, which inherit the environment, import this suite from where it is, and see no password."""
    before = {name: os.environ.pop(name, None) for name in ("PYTHONPATH", *_SECRETS)}
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(source_folder()), before["PYTHONPATH"]]))
    try:
        yield
    finally:
        del os.environ["PYTHONPATH"]
        os.environ.update({name: value for name, value in before.items() if value is not None})


def _state(said: str) -> str:
    return "" if said.startswith(_ENDED) else said.removesuffix(" (none)")


def _last_words(job: Any) -> str:
    with suppress(OSError):
        return _last_line(Path(job.paths.stderr).read_text(errors="replace"))
    return ""


def _last_line(text: str) -> str:
    return ([line.strip() for line in text.splitlines() if line.strip()] or [""])[-1]
