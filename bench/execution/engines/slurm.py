"""Slurm as an engine: one job for each node, which has it alone (`--exclusive`) and serves requests there.

A job for each request would wait in the queue each time, and import PyTorch each time. The jobs are
submitted by submitit; each calls the runner back over the network.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from bench.errors import BenchError
from bench.execution.engines.agent import Setup, source_folder
from bench.execution.engines.connection import Link, Reception, own_addresses, serve
from bench.execution.engines.engine import Executor, Node
from bench.execution.engines.remote import RemoteExecutor, RemoteNode, RemoteNodes, no_node, problem_of
from bench.records import as_json
from techniques.registry import Obstacle

MAX_JOBS = 3
"""Jobs of one slot that end before the run does: it is given up then."""

_GRACE_S = 20.0
"""How long the first node waits for others, so that the kind of most of them can be chosen."""
_LOOK_S = 5.0
_END_S = 5.0


@dataclass
class _Slot:
    """A node's worth of the cluster: its job, and the agent in it once that has called."""

    job: Any = None
    jobs: int = 0
    link: Link | None = None
    remote: RemoteNode | None = None
    problem: str = ""
    given_up: bool = False


@dataclass(frozen=True)
class _Queue:
    """How jobs are submitted and looked at: Slurm's own, or submitit's stand-in on this machine."""

    settings: Mapping[str, Any]
    folder: Path
    cluster: str
    call: tuple[Any, ...] = field(default=())

    def submit(self, slot: int) -> Any:
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
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        unknown = "Invalid job id" in done.stderr  # it has ended a while ago
        if done.returncode and not unknown:
            return f"unknown ({_last_line(done.stderr)})"
        state = done.stdout.strip().lower()
        return "" if unknown or state.startswith(_ENDED) else state.removesuffix(" (none)")


_ENDED = ("completed", "cancelled", "failed", "timeout", "node_fail", "out_of_memory", "boot_fail", "preempt")


class SlurmEngine:
    """The nodes of a Slurm cluster, each in a job of its own; see `bench.execution.engines.engine.Engine`."""

    def __init__(
        self,
        setup: Setup,
        say: Callable[[str], None],
        nodes: int,
        minutes: int,
        cluster: str,
        **options: str,
    ) -> None:
        cache = Path(setup.results) / "cache"
        cache.mkdir(parents=True, exist_ok=True)
        # Nobody else may read it: the run's key is in it.
        self._folder = Path(tempfile.mkdtemp(prefix="slurm-", dir=cache))
        self._nodes = RemoteNodes()
        self._slots = [_Slot() for _ in range(nodes)]
        self._lock = threading.RLock()  # of the slots, which the threads of connections change
        self._looked_s = 0.0
        self._reception = Reception(self._received, "127.0.0.1" if cluster == "local" else "")
        call = (own_addresses(), self._reception.port, self._reception.key.hex(), as_json(setup))
        settings = _settings(minutes, cluster, options)
        self._queue = _Queue(settings, self._folder, cluster, call)
        try:
            for number in range(nodes):
                self._submit(number)
            self._wait_for_nodes(say)
        except BaseException:
            self.close()
            raise

    def nodes(self) -> Sequence[Node]:
        if time.monotonic() - self._looked_s > _LOOK_S:
            self._look()
        alive = [remote.node for remote in self._nodes.alive()]
        if not alive and all(slot.given_up for slot in self._slots):
            raise BenchError(f"every Slurm job has ended: {self._problem()}")
        return alive

    def devices(self) -> Mapping[str, str]:
        return self._nodes.devices

    def obstacles(self) -> Mapping[str, Obstacle | None]:
        return self._nodes.obstacles

    def hosts(self) -> Mapping[str, str]:
        return self._nodes.hosts()

    def waiting_for(self) -> str:
        slots = [slot for slot in self._slots if not slot.given_up]
        states = [f"{slot.job.job_id}, {self._queue.state(slot.job) or 'ended'}" for slot in slots]
        return f"Slurm job {'; '.join(states)}"

    def start(self, node: Node, modules: Sequence[str]) -> Executor:
        return RemoteExecutor(self._nodes.named(node), modules)

    def close(self) -> None:
        self._reception.close()
        agents = [(slot, slot.link) for slot in self._slots if slot.link is not None]
        for slot in self._slots:
            slot.given_up = True  # nobody takes its place
        for _, link in agents:
            link.close()
        until = time.monotonic() + _END_S
        while time.monotonic() < until and any(self._queue.state(slot.job) for slot, _ in agents):
            time.sleep(0.2)  # a job whose agent has ended ends by itself
        for slot in self._slots:
            with suppress(Exception):  # it may have ended
                if slot.job is not None and self._queue.state(slot.job):
                    slot.job.cancel()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _wait_for_nodes(self, say: Callable[[str], None]) -> None:
        """Wait for the first node, a little for others, and choose the kind to use."""
        said, since = "", time.monotonic()
        while not (links := self._links()):
            if time.monotonic() - self._looked_s > _LOOK_S:
                self._look()
                reason = self.waiting_for()
                if said != reason and time.monotonic() - since > _LOOK_S:
                    say(f"waiting for {reason}")
                    said = reason
            if all(slot.given_up for slot in self._slots):
                raise BenchError(f"--engine slurm: every job has ended: {self._problem()}")
            time.sleep(0.1)
        until = time.monotonic() + _GRACE_S
        while len(links) < len(self._slots) and time.monotonic() < until:
            time.sleep(0.1)
            links = self._links()
        hellos = [link.hello for link in links]
        with self._lock:
            if not self._nodes.choose_kind(hellos):
                raise no_node([problem_of(hello) for hello in hellos])
            for slot in self._slots:
                self._take_up(slot)

    def _links(self) -> list[Link]:
        return [slot.link for slot in self._slots if slot.link is not None]

    def _received(self, connection: Connection, hello: dict[str, Any]) -> None:
        """Take up an agent that has called; the reception's thread does."""
        slot = self._slots[hello["slot"]]
        with self._lock:
            slot.link = Link(connection, hello, lambda: self._left(slot))
            if self._nodes.kind:
                self._take_up(slot)

    def _take_up(self, slot: _Slot) -> None:
        if slot.link is not None and slot.remote is None:
            slot.problem = problem_of(slot.link.hello)
            slot.remote = self._nodes.add(slot.link, slot.link.hello, slot.link.hello["host"])
            if slot.remote is None or slot.remote.node.kind != self._nodes.kind:
                slot.given_up = True  # it would only keep a node that others may need
                slot.problem = slot.problem or "its node is of another kind"
                slot.link.close()

    def _left(self, slot: _Slot) -> None:
        with self._lock:
            if slot.remote is not None and not slot.given_up:
                slot.remote.lose("the connection to its agent ended")
            slot.link, slot.remote = None, None

    def _look(self) -> None:
        """Submit a job again in place of one that has ended, as often as that goes."""
        self._looked_s = time.monotonic()
        for number, slot in enumerate(self._slots):
            if slot.given_up or slot.link is not None or self._queue.state(slot.job):
                continue
            slot.problem = _last_words(slot.job) or "its job ended"
            slot.given_up = slot.jobs >= MAX_JOBS
            if not slot.given_up:
                self._submit(number)

    def _submit(self, number: int) -> None:
        slot = self._slots[number]
        slot.jobs += 1
        slot.job = self._queue.submit(number)

    def _problem(self) -> str:
        return next((slot.problem for slot in self._slots if slot.problem), "its job ended")


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
