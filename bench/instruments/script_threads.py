"""TorchScript's threads, which run what a script forks, and when they are done with it.

A script has its result before the thread that made it has closed its scopes. PyTorch's profiler keeps the
scopes of a recording in memory that it frees when the recording ends; one that is closed later, while the
next recording runs, is written to that memory (`onFunctionExit` in torch/csrc/autograd/profiler_kineto.cpp).
"""

# Annotations stay values here, as TorchScript reads them.
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch

from bench.instruments.replacing import replaced

_LONGEST_S = 2.0

_ONE_AT_A_TIME = threading.Lock()
_meeting = threading.Barrier(1)


@contextmanager
def awaiting_scripts() -> Iterator[None]:
    """End, where a script ran in the block, when TorchScript's threads have ended what it gave them."""
    ran = threading.Event()

    def watched(call: Callable[..., Any]) -> Callable[..., Any]:
        def watching(script: Any, *args: Any, **kwargs: Any) -> Any:
            ran.set()
            return call(script, *args, **kwargs)

        return watching

    with watching_scripts(watched):
        try:
            yield
        finally:
            if ran.is_set():
                wait_until_done()


@contextmanager
def watching_scripts(watched: Callable[[Callable[..., Any]], Callable[..., Any]]) -> Iterator[None]:
    """Have each script that is called in the block be called by what `watched` makes of its call."""
    method, function = torch._C.ScriptMethod, torch._C.ScriptFunction
    with (
        replaced(method, "__call__", watched(method.__call__)),
        replaced(function, "__call__", watched(function.__call__)),
    ):
        yield


def wait_until_done() -> None:
    """Return when each of TorchScript's threads has ended its task, or after two seconds.

    As many tasks as there are threads wait for each other, so each thread must have left the task before. An
    only thread is waited for without a limit.
    """
    global _meeting
    count = torch.get_num_interop_threads()
    with _ONE_AT_A_TIME, _unrecorded():
        _meeting = threading.Barrier(count)
        _all_meet()(count)


@contextmanager
def _unrecorded() -> Iterator[None]:
    """Keep the block, and what it forks, out of any recording."""
    torch._C._autograd._enable_record_function(False)
    try:
        yield
    finally:
        torch._C._autograd._enable_record_function(True)


@torch.jit.ignore  # type: ignore[untyped-decorator]
def _meet(number: int) -> int:
    try:
        return _meeting.wait(_LONGEST_S)
    except threading.BrokenBarrierError:  # a thread is busy with what somebody else gave it
        return 0


def _one(number: int) -> int:
    return _meet(number)


def _fork(count: int) -> int:
    meetings: list[torch.jit.Future[int]] = []
    for number in range(count):
        meetings.append(torch.jit.fork(_one, number))
    last = 0
    for meeting in meetings:
        last = torch.jit.wait(meeting)
    return last


@cache
def _all_meet() -> Any:
    return torch.jit.script(_fork)
