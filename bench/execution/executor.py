"""Requests to worker processes: an executor is `submit(request) -> result`, here a future of one."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import selectors
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import IO, Any

from bench.costs.timeline import now_s
from bench.execution.allocator import allocator_environment
from bench.execution.compiler_cache import compiler_cache
from bench.execution.endings import judge_end, read_result, read_tail
from bench.execution.forkserver import end_session
from bench.matrix.file import Allocator
from bench.processes import how_it_ended
from bench.records import Request, Result, as_json
from bench.results.folder import COMPILE_CACHE, STORE_VARIABLE

_LOG = logging.getLogger(__name__)

START_TIMEOUT_S = 300.0
"""A server that has not finished its imports by then counts as hung."""

GRACE_S = 60.0
"""A server ends a worker after its timeout; a server that is later than this counts as hung."""

_NUMBERS = count()
"""Of requests and servers, unique in this process: the files of an ended server may still lie there."""


@dataclass
class _Pending:
    request: Request[Any]
    future: Future[Result]
    submitted_s: float
    deadline: float


class ForkServerExecutor:
    """Runs each request in a fresh process forked from one server, which has imported `modules`.

    However the server ends, its workers end before their requests are answered, so that a killed launch can
    be repeated at once. `ready` is done once the server has finished its imports, or has ended.
    """

    def __init__(
        self, work: Path, results: Path, modules: Sequence[str], allocator: Allocator = "keep"
    ) -> None:
        work.mkdir(parents=True, exist_ok=True)
        self._work = work
        self._pending: dict[int, _Pending] = {}
        self._lock = threading.Lock()
        self.ready: Future[None] = Future()
        self._end: str | None = None  # how the server ended
        self._hung = False
        self._start_deadline = time.monotonic() + START_TIMEOUT_S
        self._log = self._place(next(_NUMBERS))("server")
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "bench.execution.forkserver", *modules],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env={**own_environment(), **_environment(results), **allocator_environment(allocator)},
                start_new_session=True,
            )
        _LOG.info("fork server %d starts, imports: %s", self._process.pid, " ".join(modules) or "nothing")
        self._server = os.pidfd_open(self._process.pid)
        self._submitted = os.eventfd(0, os.EFD_CLOEXEC)
        self._reader = threading.Thread(target=self._read_until_the_end, daemon=True)
        self._reader.start()

    @property
    def alive(self) -> bool:
        """Whether the server still takes requests."""
        return self._end is None

    @property
    def end(self) -> str:
        """How the server ended, with the last line of what it printed; empty while it is alive."""
        return self._end or ""

    def wait_until_ready(self) -> None:
        """Wait until the server has done its imports, or has ended."""
        self.ready.result()

    def submit(self, request: Request[Any]) -> Future[Result]:
        """Start the request in a process of its own; the future never raises for what the stage does."""
        number = next(_NUMBERS)
        place = self._place(number)
        place("request").write_text(json.dumps(as_json(request)))
        deadline = time.monotonic() + request.timeout_s + GRACE_S
        pending = _Pending(request, Future(), now_s(), deadline)
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
        _LOG.info("worker %d: %s", number, _request_text(request))  # before it starts, never next to it
        with self._lock:
            if self._end is not None:
                self._answer(number, pending, None)
                return pending.future
            self._pending[number] = pending
            with contextlib.suppress(OSError):  # the server has gone, which the reader finds
                stdin = _pipe(self._process.stdin)
                stdin.write(json.dumps(command).encode() + b"\n")
                stdin.flush()
            os.eventfd_write(self._submitted, 1)
        return pending.future

    def close(self) -> None:
        """Stop the server; workers that still run are killed."""
        with contextlib.suppress(OSError):
            _pipe(self._process.stdin).close()
        self._reader.join(timeout=5)
        if self._reader.is_alive():
            self._process.kill()
            self._reader.join()

    def _place(self, number: int) -> Callable[[str], Path]:
        return lambda what: self._work / f"{os.getpid()}-{number}.{what}"

    def _read_until_the_end(self) -> None:
        """Answer requests as replies come in; when the server has ended, or hangs, those that are left."""
        try:
            self._take_up_replies()
        finally:
            # Before the server is reaped: until then nobody else has its number.
            end_session(self._process.pid)
            self._tell_end(self._process.wait())
            os.close(self._server)
            os.close(self._submitted)

    def _take_up_replies(self) -> None:
        unread, ended = b"", False
        with selectors.DefaultSelector() as selector, _pipe(self._process.stdout) as replies:
            os.set_blocking(replies.fileno(), False)
            for descriptor in (self._server, replies.fileno(), self._submitted):
                selector.register(descriptor, selectors.EVENT_READ)
            while not ended:
                events = {key.fd for key, _ in selector.select(self._until_next_deadline())}
                ended = self._server in events
                if self._submitted in events:
                    os.eventfd_read(self._submitted)
                # Also when it has ended: what it replied before counts.
                read = _read_what_is_there(replies)
                if not read and replies.fileno() in events:
                    selector.unregister(replies.fileno())  # closed: it is about to end
                *lines, unread = (unread + read).split(b"\n")
                for line in lines:
                    self._take_up(json.loads(line))
                if not events and self._until_next_deadline() == 0:
                    self._hung = True
                    self._process.kill()

    def _until_next_deadline(self) -> float | None:
        with self._lock:
            deadlines = [pending.deadline for pending in self._pending.values()]
        if not self.ready.done():
            deadlines.append(self._start_deadline)
        if self._hung or not deadlines:
            return None
        return max(0.0, min(deadlines) - time.monotonic())

    def _take_up(self, reply: Mapping[str, Any]) -> None:
        if reply.get("ready"):
            self.ready.set_result(None)
            return
        with self._lock:
            pending = self._pending.pop(reply["id"])
        self._answer(reply["id"], pending, reply)

    def _tell_end(self, code: int) -> None:
        """Answer what is pending: the server is gone, and its workers with it."""
        how = "did not answer in time" if self._hung else how_it_ended(code)
        last = read_tail(self._log).rpartition("\n")[2]
        _LOG.info("fork server %d %s%s", self._process.pid, how, f": {last}" if last else "")
        with contextlib.suppress(OSError):
            self._log.unlink()
        with self._lock:
            self._end = f"{how}: {last}" if last and code > 0 else how
            for number, pending in self._pending.items():
                self._answer(number, pending, None)
            self._pending.clear()
        if not self.ready.done():  # it will never be: nobody should wait
            self.ready.set_result(None)

    def _answer(self, number: int, pending: _Pending, reply: Mapping[str, Any] | None) -> None:
        """Set the result of a request; `reply` says how its worker ended, and is None if the server ended."""
        place = self._place(number)
        tail = read_tail(place("log"))
        result = None if reply is not None and reply["timed_out"] else read_result(place("result"))
        if result is None:
            reason = f"its fork server {self._end}"
            end = judge_end(reply, tail, pending.request.timeout_s) if reply else ("killed", reason)
            result = Result(*end, start_s=pending.submitted_s, output_tail=tail)
        with contextlib.suppress(OSError):  # what cannot be removed must not keep the result from its waiter
            for what in ("request", "result", "log"):
                place(what).unlink(missing_ok=True)
        wall_s = now_s() - pending.submitted_s
        # A worker goes by the wall clock, which may have been set meanwhile.
        latest_s = pending.submitted_s + max(0.0, wall_s - result.body_s)
        start_s = min(max(result.start_s, pending.submitted_s), latest_s)
        output_tail = "" if result.state == "ok" else tail
        result = replace(result, start_s=start_s, wall_s=wall_s, output_tail=output_tail)
        _log_end(number, (reply or {}).get("pid"), result)
        pending.future.set_result(result)


def _request_text(request: Request[Any]) -> str:
    return (
        f"{request.kind} {request.label}, key {request.key[:12]}, launch {request.round + 1}, "
        f"CPUs {','.join(map(str, request.cpus))}, memory {request.memory_bytes >> 20} MiB, "
        f"timeout {request.timeout_s:g} s"
    )


def _log_end(number: int, pid: int | None, result: Result) -> None:
    level = logging.INFO if result.state in ("ok", "skipped") else logging.WARNING
    reason = f", {result.reason}" if result.reason else ""
    who = f"worker {number}" + (f" (pid {pid})" if pid else "")
    _LOG.log(level, "%s: %s after %.1f s%s", who, result.state, result.wall_s, reason)
    for line in result.output_tail.splitlines():
        _LOG.log(level, "worker %d printed: %s", number, line)


def _read_what_is_there(pipe: IO[bytes]) -> bytes:
    chunks = []
    with contextlib.suppress(BlockingIOError):
        while chunk := os.read(pipe.fileno(), 65536):
            chunks.append(chunk)
    return b"".join(chunks)


def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
    assert pipe is not None, "the server was started with pipes"
    return pipe


def own_environment() -> dict[str, str]:
    """Return this process's environment without what workers have no use for."""
    return {name: value for name, value in os.environ.items() if name != STORE_VARIABLE}


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
