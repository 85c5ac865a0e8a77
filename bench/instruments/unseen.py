"""Products that a counter of one thread's operators does not see, and how it comes to see or to name them.

A dispatch mode belongs to its thread; what TorchScript compiled into a node of its own is no operator, nor is
what NumPy does. PyTorch's profiler sees the operators of all threads: each that multiplied where no counter
was is named.
"""

from __future__ import annotations

import concurrent.futures
import concurrent.futures.thread
import re
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import wraps
from typing import Any

import torch

from bench.instruments.events import profiling
from bench.instruments.operators import kind_of, may_compute

SEEN = "bench.instruments.flops:seen"
"""The scope that a counter opens in the profile around each operator that it counts or names."""

Note = Callable[[str], None]

# Nodes of TorchScript that run compiled code, and those of them that multiply.
_FUSED = re.compile(r"prim::(mkldnn_convolution|.*Fusion.*|.*TensorExpr.*|MKLDNNGroup)")


@contextmanager
def naming_unseen(note: Note) -> Iterator[None]:
    """Name each operator that multiplied in the block, in whatever thread, outside a `SEEN` scope."""
    if torch._C._autograd._profiler_enabled():  # somebody else's: one runs at a time
        yield
        return
    with profiling(all_threads=True) as events:
        yield
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
    note(f"{namespace}.{name} out of the counter's sight")
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
        _replaced(threading.Thread, "start", counting_start),
        _replaced(concurrent.futures.ThreadPoolExecutor, "submit", counting_submit),
    ):
        yield


@contextmanager
def naming_compiled_script(note: Note) -> Iterator[None]:
    """Name what TorchScript runs in the block as nodes that are no operators: fused groups, oneDNN's."""

    def watched(call: Callable[..., Any]) -> Callable[..., Any]:
        def watching(method: Any, *args: Any, **kwargs: Any) -> Any:
            result = call(method, *args, **kwargs)
            graph = torch._C._last_executed_optimized_graph()
            for name in {*_products(graph.nodes(), fused=False)}:
                note(name)
            return result

        return watching

    method, function = torch._C.ScriptMethod, torch._C.ScriptFunction
    with (
        _replaced(method, "__call__", watched(method.__call__)),
        _replaced(function, "__call__", watched(function.__call__)),
    ):
        yield


@contextmanager
def naming_numpy(note: Note) -> Iterator[None]:
    """Name NumPy where it gets a tensor of numbers in the block: what it does with them no operator shows."""

    def watched(convert: Callable[..., Any]) -> Callable[..., Any]:
        def watching(tensor: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
            if tensor.numel() > 1 and (tensor.is_floating_point() or tensor.is_complex()):
                note("numpy")
            return convert(tensor, *args, **kwargs)

        return watching

    with (
        _replaced(torch.Tensor, "numpy", watched(torch.Tensor.numpy)),
        _replaced(torch.Tensor, "__array__", watched(torch.Tensor.__array__)),
    ):
        yield


def _products(nodes: Iterable[Any], fused: bool) -> Iterator[str]:
    for node in nodes:
        kind = node.kind()
        namespace, _, name = kind.partition("::")
        if kind == "prim::mkldnn_convolution" or (
            fused and namespace == "aten" and may_compute(namespace, name)
        ):
            yield kind.replace("::", ".")
        if node.hasAttribute("Subgraph"):
            yield from _products(node.g("Subgraph").nodes(), fused or _FUSED.fullmatch(kind) is not None)
        for block in node.blocks():
            yield from _products(block.nodes(), fused)


@contextmanager
def _replaced(owner: Any, name: str, by: Any) -> Iterator[None]:
    inherited, original = name not in vars(owner), getattr(owner, name)
    setattr(owner, name, by)
    try:
        yield
    finally:
        if inherited:
            delattr(owner, name)
        else:
            setattr(owner, name, original)
