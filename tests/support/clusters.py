"""Clusters of two nodes on this machine, with one core each: Ray's, and Slurm's with a controller of its own.

Both are the real ones. Nothing pins a node to a core: that each has one of its own is the engine's work.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

_RAY_READY = """
import ray, sys, time
ray.init(sys.argv[1], log_to_driver=False, logging_level="ERROR")
while sum(node["Alive"] for node in ray.nodes()) < 2:
    time.sleep(0.2)
"""

_SLURM_CONFIG = """
ClusterName=two
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket
CryptoType=crypto/munge
SlurmUser={user}
SlurmdUser={user}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/controller.pid
SlurmdPidFile={folder}/%n.pid
SlurmctldLogFile={folder}/controller.log
SlurmdLogFile={folder}/%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
ReturnToService=2
SelectType=select/cons_tres
SlurmdParameters=config_overrides
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SlurmdTimeout=10
KillWait=5
NodeName=n[1-2] NodeHostname={host} NodeAddr=127.0.0.1 Port=[{ports[1]}-{ports[2]}] CPUs=1 RealMemory=4000
PartitionName=all Nodes=n[1-2] Default=YES MaxTime=INFINITE State=UP
"""

_SLURM_PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scancel", "sinfo")


def pinned(words: Sequence[object], cores: int = 1) -> list[str]:
    """Return a command that has as many cores as a node has: its run is to compare with."""
    chosen = sorted(os.sched_getaffinity(0))[:cores]
    return ["taskset", "-c", ",".join(map(str, chosen)), *map(str, words)]


class Cluster:
    """What a run needs to use a cluster: the option, the environment; and the second node's processes."""

    def __init__(self, engine: str, environment: dict[str, str], second: psutil.Process) -> None:
        self.engine = engine
        self.environment = {**os.environ, **environment}
        self.second = second

    def call(self, *words: str) -> str:
        """Call a program of the cluster's, and return what it prints."""
        done = subprocess.run(words, env=self.environment, capture_output=True, text=True, check=True)
        return done.stdout

    def kill_second(self) -> None:
        """Kill a node with all that runs on it, as a loss of power does."""
        kill_tree(self.second)


def kill_tree(process: psutil.Process) -> None:
    """Kill a process and all that it has started."""
    with suppress(psutil.Error):
        for each in [process, *process.children(recursive=True)]:
            with suppress(psutil.Error):
                each.kill()


@contextmanager
def ray_cluster(cpus: int | None = 1) -> Iterator[Cluster]:
    """Start a head and a second node of Ray, with so many cores each; None leaves that to Ray."""
    folder = tempfile.mkdtemp(prefix="ray-")
    ray = [Path(sys.executable).with_name("ray"), "start", "--block", "--disable-usage-stats"]
    ray += [] if cpus is None else ["--num-cpus", cpus]
    (port,) = free_ports(1)
    address = f"127.0.0.1:{port}"
    # A token of its own: `ray start` wants one wherever a local run has left one at home.
    token = Path(folder, "token")
    token.write_text(secrets.token_hex(32))
    environment = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(token)}
    head = ["--head", "--port", port, "--include-dashboard", "false", "--temp-dir", folder]
    started: list[psutil.Popen] = []
    try:
        for words in (head, ["--address", address]):
            started.append(_start(list(map(str, [*ray, *words])), environment))
            _wait_for_port(port)
        ready = [sys.executable, "-c", _RAY_READY, address]
        subprocess.run(ready, check=True, timeout=120, env={**os.environ, **environment})
        yield Cluster("ray", {"RAY_ADDRESS": address, **environment}, psutil.Process(started[1].pid))
    finally:
        for process in reversed(started):
            kill_tree(psutil.Process(process.pid))
            process.wait()
        shutil.rmtree(folder, ignore_errors=True)


def no_slurm() -> str:
    """Return why no Slurm can be started here; empty where one can."""
    missing = [name for name in _SLURM_PROGRAMS if _program(name) is None]
    if missing:
        return f"needs {', '.join(missing)}: apt-get install slurm-wlm"
    return "" if os.geteuid() == 0 else "slurmd needs root"


@contextmanager
def slurm_cluster() -> Iterator[Cluster]:
    """Start Slurm's controller and two nodes, with the authentication that they need."""
    folder = Path(tempfile.mkdtemp(prefix="slurm-"))
    for name in ("munge", "state", "spool-n1", "spool-n2"):
        (folder / name).mkdir(mode=0o755)
    folder.chmod(0o755)
    config = folder / "slurm.conf"
    values = {"host": socket.gethostname(), "folder": folder, "ports": free_ports(3), "user": "root"}
    config.write_text(_SLURM_CONFIG.format_map(values))
    environment = {"SLURM_CONF": str(config)}
    started: list[psutil.Popen] = []
    try:
        started.append(_munge(folder / "munge"))
        controller = [_program("slurmctld"), "-D", "-c"]
        started.append(_start(list(map(str, controller)), environment))
        for name in ("n1", "n2"):
            started.append(_start([str(_program("slurmd")), "-D", "-c", "-N", name], environment))
        _wait_for_idle(environment)
        yield Cluster("slurm:2", environment, psutil.Process(started[-1].pid))
    finally:
        for process in reversed(started):
            kill_tree(psutil.Process(process.pid))
            process.wait()
        shutil.rmtree(folder, ignore_errors=True)


def free_ports(number: int) -> list[int]:
    """Return ports in a row that nobody listens at."""
    for first in range(20000 + os.getpid() % 5000, 32000, number):
        with suppress(OSError):
            for port in range(first, first + number):
                socket.create_server(("127.0.0.1", port)).close()
            return list(range(first, first + number))
    raise AssertionError("no port is free")


def _munge(folder: Path) -> psutil.Popen:
    (folder / "key").write_bytes(os.urandom(1024))
    (folder / "key").chmod(0o400)
    places = {
        "key-file": "key",
        "socket": "socket",
        "pid-file": "pid",
        "log-file": "log",
        "seed-file": "seed",
    }
    words = [f"--{option}={folder / name}" for option, name in places.items()]
    return _start([str(_program("munged")), "--foreground", "--force", *words])


def _start(words: Sequence[str], environment: dict[str, str] | None = None) -> psutil.Popen:
    return psutil.Popen(
        list(words),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, **(environment or {})},
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def _program(name: str) -> str | None:
    return shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")


def _wait_for_port(port: int) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return
        except OSError:
            assert time.monotonic() < deadline, f"nobody listens at port {port}"
            time.sleep(0.1)


def _wait_for_idle(environment: dict[str, str]) -> None:
    deadline = time.monotonic() + 60
    words = ["sinfo", "--noheader", "--format", "%D %t"]
    while True:
        done = subprocess.run(
            words, env={**os.environ, **environment}, capture_output=True, text=True, check=False
        )
        if done.stdout.split() == ["2", "idle"]:
            return
        assert time.monotonic() < deadline, done.stdout + done.stderr
        time.sleep(0.2)
