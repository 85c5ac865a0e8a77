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
from collections.abc import Callable, Collection, Iterator, Mapping
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

_ANSWER_S = 10.0
"""How long Slurm may take to say what a job does."""

_END_S = 5.0

_UNKNOWN = "unknown"
"""The state of a job where Slurm does not answer."""

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

    def state(self, job: Any) -> str:
        """Return a job's state and why it waits; empty where it has ended."""
        if self.cluster == "local":
            return "" if job.done(force_check=True) else "running"
        words = ["squeue", "--noheader", "--jobs", str(job.job_id), "--format", "%T (%r)"]
        try:
            done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=_ANSWER_S)
        except subprocess.TimeoutExpired:
            return f"{_UNKNOWN} (no answer within {_ANSWER_S:g} s)"
        unknown = "Invalid job id" in done.stderr  # it has ended a while ago
        if done.returncode and not unknown:
            return f"{_UNKNOWN} ({_last_line(done.stderr)})"
        state = done.stdout.strip().lower()
        return "" if unknown or state.startswith(_ENDED) else state.removesuffix(" (none)")


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

    def look(self) -> None:
        """Notice the end of a job whose agent has not called; that of others shows in their connection."""
        if not self.has_called and not self.end:
            self.state = self._queue.state(self.job)
            if not self.state:
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

    @property
    def is_queued(self) -> bool:
        """Whether the job waits or runs."""
        return self.job is not None and bool(self._queue.state(self.job))

    def close(self) -> None:
        self.hang_up()
        with suppress(Exception):  # it may have ended
            if self.is_queued:
                self.job.cancel()

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
        for job in self._jobs.values():
            job.look()
            if job.state.startswith(_UNKNOWN):
                break  # each question would wait for an answer
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
        jobs = list(self._jobs.values())
        for job in jobs:
            job.hang_up()
        until_s = time.monotonic() + _END_S
        while time.monotonic() < until_s and any(job.has_called and job.is_queued for job in jobs):
            time.sleep(0.2)  # a job whose agent has ended ends by itself
        for job in jobs:
            job.close()
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
    """Let jobs, which inherit the environment, import this suite from where it is."""
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(source_folder()), before]))
    try:
        yield
    finally:
        del os.environ["PYTHONPATH"]
        if before is not None:
            os.environ["PYTHONPATH"] = before


def _last_words(job: Any) -> str:
    with suppress(OSError):
        return _last_line(Path(job.paths.stderr).read_text(errors="replace"))
    return ""


def _last_line(text: str) -> str:
    return ([line.strip() for line in text.splitlines() if line.strip()] or [""])[-1]
