"""Products that a counter of one thread's operators does not see, and how it comes to see or to name them.

A dispatch mode belongs to its thread, and what NumPy or Triton do is no operator. PyTorch's profiler sees the
operators of all threads: each that multiplied where no counter was is named.
"""

from __future__ import annotations

import concurrent.futures
import concurrent.futures.thread
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import wraps
from typing import Any

import torch

from bench.instruments.events import profiling
from bench.instruments.operators import kind_of
from bench.instruments.replacing import replaced

SEEN = "bench.instruments.flops:seen"
"""The scope that a counter opens in the profile around each operator that it counts or names."""

Note = Callable[[str], None]

_PROFILER = threading.Lock()

_WAYS: tuple[tuple[Any, str, str], ...] = (
    (torch.Tensor, "numpy", "numpy"),
    (torch.Tensor, "__array__", "numpy"),
    (torch.Tensor, "tolist", "tolist"),
    (torch.Tensor, "__dlpack__", "dlpack"),
    (torch, "to_dlpack", "dlpack"),
    (torch.utils.dlpack, "to_dlpack", "dlpack"),
    (torch._C, "_to_dlpack", "dlpack"),
    (torch._C, "_to_dlpack_versioned", "dlpack"),
    *((torch.UntypedStorage, name, "storage") for name in ("__iter__", "__getitem__", "tolist")),
    *((torch.TypedStorage, name, "storage") for name in ("__iter__", "__getitem__", "tolist")),
)
"""Where numbers leave PyTorch, and the name that a count has for it."""

_MAX_SIZES = 16
"""Integers that NumPy may get as sizes or indices, which a product of matrices is not made of."""


@contextmanager
def naming_unseen(note: Note) -> Iterator[None]:
    """Name each operator that multiplied in the block, in whatever thread, outside a `SEEN` scope."""
    # One profiler runs at a time: that of a count within a count, or of whoever profiles it, sees enough.
    if torch._C._autograd._profiler_enabled() or not _PROFILER.acquire(blocking=False):
        yield
        return
    try:
        with profiling(all_threads=True) as events:
            yield
    finally:
        _PROFILER.release()
    for event in events:
        _note_unseen(event, note)


def _note_unseen(event: Any, note: Note) -> bool:
    """Note what computes in an event and was not seen; returns whether anything in it was."""
    if event.name == SEEN:
        return True
    seen = [_note_unseen(child, note) for child in event.children]
    namespace, separator, name = event.name.partition("::")
    if any(seen) or not separator or kind_of(namespace, name) not in ("formula", "unknown"):
        return any(seen)
    if not torch._C._jit_get_schemas_for_operator(event.name):
        return False  # a scope that somebody opened, no operator
    note(f"{namespace}.{name} (not seen by the counter)")
    return True


@contextmanager
def counting_threads(mode: Callable[[], AbstractContextManager[Any]]) -> Iterator[None]:
    """Run each thread that starts in the block, and each task given to a pool, in a mode of its own."""
    start, submit = threading.Thread.start, concurrent.futures.ThreadPoolExecutor.submit

    def within(call: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(call)
        def counted(*args: Any, **kwargs: Any) -> Any:
            with mode():
                return call(*args, **kwargs)

        return counted

    def counting_start(thread: threading.Thread) -> None:
        # A pool's worker outlives the block, so its tasks are wrapped, not the worker.
        if getattr(thread, "_target", None) is not concurrent.futures.thread._worker:
            thread.run = within(thread.run)  # type: ignore[method-assign]
        start(thread)

    def counting_submit(pool: Any, call: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        return submit(pool, within(call), *args, **kwargs)

    with (
        replaced(threading.Thread, "start", counting_start),
        replaced(concurrent.futures.ThreadPoolExecutor, "submit", counting_submit),
    ):
        yield


@contextmanager
def naming_other_libraries(note: Note) -> Iterator[None]:
    """Name the ways by which numbers leave PyTorch in the block, to NumPy or by DLPack, and Triton's kernels.

    What they do with tensors no operator shows. An operator that is registered with PyTorch has its own name.
    """

    def watched(library: str, convert: Callable[..., Any]) -> Callable[..., Any]:
        def watching(tensor: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
            printing = sys._getframe(1).f_globals.get("__name__") == "torch._tensor_str"
            if not printing and _may_be_multiplied(tensor, library):
                note(library)
            return convert(tensor, *args, **kwargs)

        return watching

    def launched(run: Callable[..., Any]) -> Callable[..., Any]:
        def launching(kernel: Any, *args: Any, **kwargs: Any) -> Any:
            note(f"triton.{getattr(kernel, '__name__', 'kernel')}")
            return run(kernel, *args, **kwargs)

        return launching

    with ExitStack() as stack:
        for owner, name, library in _WAYS:
            by = watched(library, getattr(owner, name))
            stack.enter_context(replaced(owner, name, by))
        if "triton.runtime.jit" in sys.modules:
            function = sys.modules["triton.runtime.jit"].JITFunction
            stack.enter_context(replaced(function, "run", launched(function.run)))
        yield


def _may_be_multiplied(numbers: Any, library: str) -> bool:
    """Say whether somebody who takes these numbers may multiply them: not sizes, indices nor masks."""
    if not isinstance(numbers, torch.Tensor):
        return len(numbers) > 1
    if numbers.is_floating_point() or numbers.is_complex():
        return numbers.numel() > 1
    # Lists of integers are sizes and tokens; NumPy gets few of those, but whole matrices too.
    return library != "tolist" and numbers.dtype != torch.bool and numbers.numel() > _MAX_SIZES
