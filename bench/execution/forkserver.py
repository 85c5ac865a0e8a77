"""A process that has imported what workers need and forks one for each request.

Run as `python -m bench.execution.forkserver MODULE...`; commands come as JSON lines on standard input,
replies go as JSON lines to standard output. It runs no tensor operation itself: threads do not survive a
fork. It sleeps while it waits, and when its parent goes, its workers go with it.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import selectors
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from bench.execution.kernel import count_oom_kills, die_with_parent, limit_memory
from bench.execution.signals import readable_on_signals

_END_S = 30.0
"""A killed process that is still there after this waits for a device; it runs no code of its own any more."""


@dataclass
class Worker:
    """A worker that runs: its process, which leads a group of its own, and when its time is over."""

    id: int
    pid: int
    deadline: float
    oom_kills: int
    timed_out: bool = False


class Server:
    """Forks workers as commands come in, reports each that ends."""

    def __init__(self, replies: int) -> None:
        self._replies = replies
        self._workers: dict[int, Worker] = {}  # by the file descriptor that tells of the worker's end
        self._selector = selectors.DefaultSelector()
        self._unread = b""

    def serve(self) -> None:
        """Work until standard input closes."""
        signals = readable_on_signals()
        for descriptor in (0, signals):
            self._selector.register(descriptor, selectors.EVENT_READ)
        while True:
            for key, _ in self._selector.select(self._until_next_deadline()):
                if key.fd == signals:
                    os.read(signals, 4096)  # its handler has run
                elif key.fd != 0:
                    self._reap(key.fd)
                elif not self._read_commands():
                    return
            for worker in self._workers.values():
                if time.monotonic() >= worker.deadline and not worker.timed_out:
                    worker.timed_out = True
                    kill_group(worker.pid)

    def kill_all(self) -> None:
        for worker in self._workers.values():
            kill_group(worker.pid)

    def reply(self, message: dict[str, Any]) -> None:
        os.write(self._replies, json.dumps(message).encode() + b"\n")

    def _until_next_deadline(self) -> float | None:
        waiting = [worker.deadline for worker in self._workers.values() if not worker.timed_out]
        return max(0.0, min(waiting) - time.monotonic()) if waiting else None

    def _read_commands(self) -> bool:
        chunk = os.read(0, 65536)
        *lines, self._unread = (self._unread + chunk).split(b"\n")
        for line in lines:
            self._start(json.loads(line))
        return bool(chunk)

    def _start(self, command: dict[str, Any]) -> None:
        parent = os.getpid()
        try:
            pid = os.fork()
        except OSError as error:
            reason = f"no process could be forked: {error.strerror}"
            self.reply({"id": command["id"], "exit": os.EX_OSERR, "timed_out": False, "error": reason})
            return
        if pid == 0:
            os.close(self._replies)  # what a worker starts may outlive the server, and would keep it open
            become_worker(command, parent)
        with contextlib.suppress(OSError):  # the worker does the same; whoever is first
            os.setpgid(pid, pid)
        descriptor = os.pidfd_open(pid)
        deadline = time.monotonic() + command["timeout_s"]
        self._workers[descriptor] = Worker(command["id"], pid, deadline, count_oom_kills())
        self._selector.register(descriptor, selectors.EVENT_READ)

    def _reap(self, descriptor: int) -> None:
        worker = self._workers.pop(descriptor)
        self._selector.unregister(descriptor)
        os.close(descriptor)
        # Before it is reaped: until then no other group can have its number.
        kill_group(worker.pid)
        _, status = os.waitpid(worker.pid, 0)
        oom_kills = count_oom_kills() - worker.oom_kills
        exit_code = os.waitstatus_to_exitcode(status)
        ended = {"id": worker.id, "pid": worker.pid, "exit": exit_code}
        self.reply({**ended, "timed_out": worker.timed_out, "oom_kills": oom_kills})


def become_worker(command: dict[str, Any], parent: int) -> NoReturn:
    """Turn a fresh fork into a worker: its own group and limits, its output into its log; never returns."""
    code = 70
    try:
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)
        os.setpgid(0, 0)
        die_with_parent(signal.SIGKILL, parent)
        os.sched_setaffinity(0, command["cpus"])
        limit_memory(command["memory_bytes"])
        log = os.open(command["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        nothing = os.open(os.devnull, os.O_RDONLY)
        for source, target in ((nothing, 0), (log, 1), (log, 2)):
            os.dup2(source, target)
        arguments = [command["request"], command["result"]]
        if not command["fork_safe"]:
            os.execv(sys.executable, [sys.executable, "-m", "bench.execution.worker", *arguments])
        from bench.execution.worker import main as work

        code = work(arguments)
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def kill_group(pid: int) -> None:
    """Kill a worker and all that it started."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


def end_session(leader: int) -> None:
    """Kill every process of a session, whatever its group, and wait until none of them runs any more."""
    deadline = time.monotonic() + _END_S
    while (pids := running_in_session(leader)) and time.monotonic() < deadline:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.005)


def running_in_session(leader: int) -> list[int]:
    """Return the processes of a session that run or are stopped, less those that only wait to be reaped."""
    pids = []
    for place in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            state, _, _, session = (place / "stat").read_text().rpartition(")")[2].split()[:4]
            if int(session) == leader and state not in "ZX":
                pids.append(int(place.name))
    return pids


def main(modules: list[str]) -> None:
    """Import the modules, say that the server is ready, serve until the runner goes."""
    parent = os.getppid()
    replies = os.dup(1)
    os.dup2(2, 1)  # what an import prints must not end up between the replies
    server = Server(replies)

    def stop(*_: object) -> NoReturn:
        server.kill_all()
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTERM)  # which tells the runner how it ended
        os._exit(1)

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    die_with_parent(signal.SIGTERM, parent)
    for module in modules:
        with contextlib.suppress(Exception, SystemExit):  # the worker that needs it will say so
            importlib.import_module(module)
    importlib.import_module("bench.execution.worker")._describe("cpu")
    try:
        server.reply({"ready": True})
        server.serve()
    finally:
        server.kill_all()
    os._exit(0)  # unloading what was imported takes half a second, and there is nothing to save


if __name__ == "__main__":
    main(sys.argv[1:])
