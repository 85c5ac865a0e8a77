"""What runs on a node of a cluster: it starts fork servers there as a run on one machine does.

Whatever carries the calls, they are plain JSON both ways. The agent ends with the connection to its runner,
its servers end with it, and their workers with them.
"""

from __future__ import annotations

import os
import socket
import tempfile
import traceback
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import astuple, dataclass, field, replace
from itertools import count
from pathlib import Path
from typing import Any, get_args

from bench.analysis.comparable import deciding, fingerprint
from bench.digests import OUR_PACKAGES, file_digest
from bench.errors import BenchError
from bench.execution.executor import ForkServerExecutor, own_environment
from bench.execution.resources import find_resources, machine_id, physical_core
from bench.instruments.variables import DECIDING
from bench.matrix.file import Allocator, Budget, Device
from bench.records import Request, Result, as_json, read_as
from bench.results.exchange import Exchange
from bench.results.folder import WORK, is_full
from techniques.backends import BACKENDS

PERFORMANCE_VARIABLES = (
    *("OMP_", "KMP_", "GOMP_", "MKL_", "OPENBLAS_", "BLIS_", "ONEDNN_", "DNNL_", "ATEN_", "TORCH"),
    *("PYTORCH_", "MALLOC_", "GLIBC_TUNABLES", "LD_PRELOAD", "PYTHONHASHSEED", "CUBLAS_"),
    *("NVIDIA_TF32", "XLA_", "BENCH_"),
    *DECIDING,
)
"""Beginnings of the environment variables that decide a result: a node has them as the runner has, whatever
a cluster's software sets (Ray: OMP_NUM_THREADS)."""


@dataclass(frozen=True)
class Setup:
    """What a run tells its agents.

    `sources` is the digest of this suite's code, which a node must have too. `cpus` bounds the cores to use
    where the cluster gives a node fewer than its process may use; 0 leaves that to Slurm's own word. With
    `artifacts`, a URL, a node has a results folder of its own.
    """

    results: str
    folder: str
    sources: str
    environment: Mapping[str, str] = field(default_factory=dict)
    cpus: int = 0
    memory_gib: float | None = None
    allocator: Allocator = "keep"
    artifacts: str = ""


def setup_of(results: Path, budget: Budget, artifacts: str = "") -> Setup:
    """Return the setup of this process's run."""
    chosen = {
        name: value for name, value in own_environment().items() if name.startswith(PERFORMANCE_VARIABLES)
    }
    return Setup(
        str(results.resolve()),
        str(Path.cwd()),
        sources_digest(),
        chosen,
        memory_gib=budget.memory_gib,
        allocator=budget.allocator,
        artifacts=artifacts,
    )


def sources_digest() -> str:
    """Return a digest of the code of this suite."""
    import hashlib

    digest = hashlib.sha256()
    root = source_folder()
    for package in OUR_PACKAGES:
        for path in sorted((root / package).rglob("*.py")):
            digest.update(f"{path.relative_to(root)}\0{file_digest(path)}\0".encode())
    return digest.hexdigest()


def source_folder() -> Path:
    """Return the folder that this suite is imported from."""
    return Path(__file__).parents[3]


class Agent:
    """Answers the calls of one run, from any thread: `describe`, `start`, `run`, `stop`."""

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self._numbers = count()
        self._servers: dict[int, ForkServerExecutor] = {}
        # The kernel ends a server with the thread that started it, so this one stays.
        self._starter = ThreadPoolExecutor(1)
        self._work = tempfile.TemporaryDirectory(prefix="bench-node-")
        self._no_folder = _set_environment(setup)
        own = Path(self._work.name)
        self._results = own / "results" if setup.artifacts else Path(setup.results)
        self._exchange: Exchange | None = None
        self._fetched: set[str] = set()

    def call(self, what: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Answer a call; where this node or this suite fails the answer is `fault`, one line."""
        calls: dict[str, Callable[..., dict[str, Any]]] = {
            "describe": self.describe,
            "start": self.start,
            "run": self.run,
            "stop": self.stop,
        }
        try:
            return calls[what](**arguments)
        except BenchError as error:  # of the URL: no access, no network
            return {"fault": str(error)}
        except Exception as error:
            traceback.print_exc()
            return {"fault": f"{type(error).__name__}: {error}".splitlines()[0]}

    def describe(self) -> dict[str, Any]:
        """Say what this node is; `problem` is why it cannot take part, if it cannot.

        Of the logical cores `cpus` that this process may use the node shall have so many `cores`. `physical`
        says of each which physical core it is a part of; `boards` are the NVIDIA GPUs that may be used.
        """
        from bench.instruments.environment import describe
        from bench.plan.keys import device_kind
        from bench.plugins import needed_packages

        if is_full(Path(self._work.name)):
            raise OSError(f"no space left for {self._work.name}")
        self._exchange = Exchange(self._setup.artifacts) if self._setup.artifacts else None
        resources = find_resources(self._setup.memory_gib)
        bound = self._setup.cpus or int(os.environ.get("SLURM_CPUS_ON_NODE", "0"))
        cores = min(bound or len(resources.cpus), len(resources.cpus))
        environment = describe("cuda", needed_packages())
        # What else decides, as the allocator, belongs to the launch and not to the node.
        decides = {**deciding(environment), "allocator": None, "threads": cores}
        return {
            "host": os.environ.get("SLURMD_NODENAME") or socket.gethostname(),
            "machine": machine_id(),
            "kind": fingerprint(decides),
            "devices": {device: device_kind(device, cores) for device in get_args(Device)},
            "obstacles": {
                name: astuple(found) if (found := row.obstacle()) else None
                for name, row in BACKENDS.rows().items()
            },
            "boards": _visible_boards(len(environment["accelerators"])),
            "cores": cores,
            "cpus": resources.cpus,
            "physical": [physical_core(cpu) for cpu in resources.cpus],
            "memory_bytes": int(resources.memory_bytes * cores / len(resources.cpus)),
            "problem": self._problem(),
        }

    def start(self, modules: list[str], cpus: list[int]) -> dict[str, Any]:
        """Start a fork server on the node's cores, wait until it is ready, and return its number."""
        _keep_to(cpus)
        number = next(self._numbers)
        server = self._starter.submit(self._start, modules).result()
        self._servers[number] = server
        server.wait_until_ready()
        return {"server": number, "end": server.end}

    def run(self, server: int, request: Mapping[str, Any]) -> dict[str, Any]:
        """Run a request by a server, and return its result, and how the server ended if it has."""
        executor = self._servers[server]
        wanted = replace(read_as(Request, request), results=str(self._results))
        result = self._result(executor, wanted)
        if result.state not in ("ok", "skipped") and self._has_own_disk() and is_full(Path(self._work.name)):
            raise OSError(f"no space left for {self._work.name}")
        return {"result": as_json(result), "end": executor.end}

    def stop(self, server: int) -> dict[str, Any]:
        """Stop a server; its workers are killed."""
        executor = self._servers.pop(server, None)
        if executor is not None:
            executor.close()
        return {}

    def close(self) -> None:
        """Stop every server."""
        for number in list(self._servers):
            self.stop(number)
        self._starter.shutdown(wait=False)
        self._work.cleanup()

    def _result(self, executor: ForkServerExecutor, request: Request[Any]) -> Result:
        """Run a request, with its artifacts brought and taken where they are kept at a URL."""
        for key in request.parents.values() if self._exchange else ():
            if not self._fetch(key):
                return Result(
                    "failed", f"artifact {key[:12]} is missing or damaged at {self._setup.artifacts}"
                )
        result = executor.submit(request).result()
        if self._exchange and result.artifact is not None:
            self._exchange.publish(self._results, request.key)
            self._fetched.add(request.key)
        return result

    def _has_own_disk(self) -> bool:
        """Say whether this node's files lie elsewhere than the run's, so that they may lack space alone."""
        own, shared = Path(self._work.name), Path(self._setup.results)
        return self._exchange is not None or own.stat().st_dev != shared.stat().st_dev

    def _fetch(self, key: str) -> bool:
        """Bring an artifact, which is hashed once on each node."""
        assert self._exchange is not None, "asked only where artifacts are kept at a URL"
        if key not in self._fetched and self._exchange.fetch(self._results, key):
            self._fetched.add(key)
        return key in self._fetched

    def _start(self, modules: list[str]) -> ForkServerExecutor:
        return ForkServerExecutor(Path(self._work.name) / WORK, self._results, modules, self._setup.allocator)

    def _problem(self) -> str:
        if self._no_folder:
            return self._no_folder
        if sources_digest() != self._setup.sources:
            return f"it has another version of this suite in {source_folder()}"
        if not self._setup.artifacts and not Path(self._setup.results).is_dir():
            return f"it does not see the results folder {self._setup.results}"
        return ""


def _visible_boards(boards: int) -> list[str]:
    """Return the numbers or names of the NVIDIA GPUs that this process may use, of so many."""
    listed = os.environ.get("CUDA_VISIBLE_DEVICES")
    if listed is None or not boards:
        return [str(board) for board in range(boards)]
    return [entry.strip() for entry in listed.split(",") if entry.strip()]


def _keep_to(cpus: Sequence[int]) -> None:
    """Keep this process, and what it starts, to some cores: another node may time a launch on the others."""
    for thread in Path("/proc/self/task").iterdir():
        with suppress(OSError):  # it has ended
            os.sched_setaffinity(int(thread.name), cpus)


def _set_environment(setup: Setup) -> str:
    """Give this process, and so its servers, what decides a result of the runner's environment.

    Returns why its folder cannot be the runner's; empty where it is.
    """
    for name in list(os.environ):
        if name.startswith(PERFORMANCE_VARIABLES):
            del os.environ[name]
    os.environ.update(setup.environment)
    places = [str(source_folder()), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    os.environ["PYTHONPATH"] = os.pathsep.join(dict.fromkeys(place for place in places if place))
    try:
        os.chdir(setup.folder)  # a reference may be relative, as `my_file.py:make_model`
    except OSError as error:
        return f"it does not see the folder {setup.folder}: {error.strerror}"
    return ""
