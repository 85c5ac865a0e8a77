"""Requests to worker processes: an executor is `submit(request) -> result`, here a future of one."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import IO, Any

from bench.allocator import Allocator, allocator_environment
from bench.compiler_cache import compiler_cache
from bench.forkserver import kill_group
from bench.overhead import now_s
from bench.records import Request, Result, State
from bench.results_folder import COMPILE_CACHE
from bench.worker import NO_SPACE_EXIT

TAIL_LINES = 20

# A signal of these kinds is somebody's wish, not the stage's fault: the launch is tried again.
_FROM_OUTSIDE = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


@dataclass
class _Pending:
    request: Request
    future: Future[Result]
    submitted_s: float
    pid: int | None = None


class ForkServerExecutor:
    """Runs each request in a fresh process forked from one server, which has imported `modules`."""

    def __init__(
        self, work: Path, results: Path, modules: Sequence[str], allocator: Allocator = "keep"
    ) -> None:
        work.mkdir(parents=True, exist_ok=True)
        self._work = work
        self._numbers = count()
        self._pending: dict[int, _Pending] = {}
        self._lock = threading.Lock()
        self._ready = threading.Event()
        self._log = (work / "server.log").open("ab")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench.forkserver", *modules],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            env={**os.environ, **_environment(results), **allocator_environment(allocator)},
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read_replies, daemon=True)
        self._reader.start()

    @property
    def alive(self) -> bool:
        """Whether the server still takes requests."""
        return self._process.poll() is None

    def wait_until_ready(self) -> None:
        """Wait until the server has done its imports, or has ended."""
        self._ready.wait()

    def submit(self, request: Request) -> Future[Result]:
        """Start the request in a process of its own; the future never raises for what the stage does."""
        number = next(self._numbers)
        place = self._place(number)
        place("request").write_text(json.dumps(request.to_json()))
        pending = _Pending(request, Future(), now_s())
        command = {
            "id": number,
            "request": str(place("request")),
            "result": str(place("result")),
            "log": str(place("log")),
            "cpus": request.cpus,
            "memory_bytes": request.memory_bytes,
            "timeout_s": request.timeout_s,
            "fork_safe": request.fork_safe,
        }
        with self._lock:
            self._pending[number] = pending
            try:
                stdin = _pipe(self._process.stdin)
                stdin.write(json.dumps(command).encode() + b"\n")
                stdin.flush()
            except OSError:
                self._fail_all()
        return pending.future

    def close(self) -> None:
        """Stop the server; workers that still run are killed."""
        with contextlib.suppress(OSError):
            _pipe(self._process.stdin).close()
        with self._lock:
            for pending in self._pending.values():
                if pending.pid is not None:
                    kill_group(pending.pid)
        try:
            self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join(timeout=5)
        self._log.close()

    def _place(self, number: int) -> Any:
        return lambda what: self._work / f"{os.getpid()}-{id(self)}-{number}.{what}"

    def _read_replies(self) -> None:
        for line in _pipe(self._process.stdout):
            message = json.loads(line)
            if message.get("ready"):
                self._ready.set()
            elif "pid" in message:
                with self._lock:
                    self._pending[message["id"]].pid = message["pid"]
            else:
                with self._lock:
                    pending = self._pending.pop(message["id"])
                pending.future.set_result(self._finish(message["id"], pending, message))
        self._ready.set()  # it will never be: nobody should wait
        with self._lock:
            self._fail_all()

    def _finish(self, number: int, pending: _Pending, message: Mapping[str, Any]) -> Result:
        place = self._place(number)
        tail = read_tail(place("log"))
        result = read_result(place("result")) if not message["timed_out"] else None
        if result is None:
            state, reason = judge_end(message, tail, pending.request.timeout_s)
            result = Result(state, reason, start_s=pending.submitted_s, output_tail=tail)
        with contextlib.suppress(OSError):  # what cannot be removed must not keep the result from its waiter
            for what in ("request", "result", "log"):
                place(what).unlink(missing_ok=True)
        wall_s = now_s() - pending.submitted_s
        # A worker goes by the wall clock, which may have been set meanwhile.
        latest_s = pending.submitted_s + max(0.0, wall_s - result.body_s)
        start_s = min(max(result.start_s, pending.submitted_s), latest_s)
        output_tail = "" if result.state == "ok" else tail
        return replace(result, start_s=start_s, wall_s=wall_s, output_tail=output_tail)

    def _fail_all(self) -> None:
        """End what is pending: the server is gone, and its workers with it."""
        for pending in self._pending.values():
            if pending.pid is not None:
                kill_group(pending.pid)
            wall_s = now_s() - pending.submitted_s
            reason = "its fork server was ended from outside"
            pending.future.set_result(Result("killed", reason, start_s=pending.submitted_s, wall_s=wall_s))
        self._pending.clear()


def judge_end(message: Mapping[str, Any], tail: str, timeout_s: float) -> tuple[State, str]:
    """Say how a worker ended that left no result: state and reason."""
    code = message["exit"]
    if message["timed_out"]:
        return "timeout", f"took longer than its {timeout_s:g} s"
    if "std::bad_alloc" in tail or "MemoryError" in tail:
        return "oom", "could not allocate memory"
    if code == NO_SPACE_EXIT:
        return "failed", os.strerror(errno.ENOSPC)
    if code >= 0:
        return "failed", f"ended with exit code {code} and left no result"
    name = signal.Signals(-code).name
    if -code == signal.SIGKILL and message["oom_kills"]:
        return "oom", "the kernel ended it because memory ran out"
    if -code in _FROM_OUTSIDE:
        return "killed", f"ended from outside by {name}"
    return "failed", f"ended by {name}"


def read_result(path: Path) -> Result | None:
    """Return the result that a worker left, or None where it left none."""
    try:
        return Result.from_json(json.loads(path.read_text()))
    except (OSError, ValueError):
        return None


def read_tail(path: Path) -> str:
    """Return the last lines of a worker's output."""
    try:
        with path.open("rb") as log:
            log.seek(0, os.SEEK_END)
            log.seek(max(0, log.tell() - 16384))
            lines = log.read().decode(errors="replace").splitlines()
    except OSError:
        return ""
    return "\n".join(lines[-TAIL_LINES:])


def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
    assert pipe is not None, "the server was started with pipes"
    return pipe


def _environment(results: Path) -> dict[str, str]:
    """Return what a server's environment must have before a library is loaded."""
    return {
        # Compiled kernels and headers are kept with the results that they were made for.
        "TORCHINDUCTOR_CACHE_DIR": str(results / COMPILE_CACHE),
        "TORCHINDUCTOR_COMPILE_THREADS": "1",
        # BLAS threads that an import starts would not survive a fork.
        "OPENBLAS_NUM_THREADS": "1",
        **compiler_cache(results / COMPILE_CACHE / "ccache"),
    }
