"""The operators that a runtime ran, with their own time, from its own trace."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from techniques.backends.onnx_file import open_session


@dataclass(frozen=True)
class OperatorTime:
    """An operator or kernel: how often it ran in a trace, and seconds in it, not in what it called.

    `layers` names the nodes of the graph that it ran for, where the runtime tells them.
    """

    name: str
    calls: int
    self_s: float
    layers: tuple[str, ...] = ()


def trace_torch(call: Callable[[], object], calls: int, path: Path) -> list[OperatorTime]:
    """Run a call under PyTorch's profiler; write its Chrome trace to `path`; return operators, slowest first.

    Memory events are in the trace too.
    """
    # Not torch.profiler, which imports a compiler for two seconds.
    from torch.autograd.profiler import profile

    device = "cuda" if torch.cuda.is_available() else None
    with profile(use_device=device, profile_memory=True, record_shapes=True) as profiled:
        for _ in range(calls):
            call()
    profiled.export_chrome_trace(str(path))
    return slowest_first(
        OperatorTime(
            str(event.key),
            int(event.count),
            (event.self_cpu_time_total + getattr(event, "self_device_time_total", 0)) / 1e6,
        )
        for event in profiled.key_averages()
    )


def trace_onnx_runtime(
    model: Path,
    threads: int,
    feeds: Sequence[dict[str, Any]],
    calls: int,
    path: Path,
    disabled: Sequence[str] = (),
) -> list[OperatorTime]:
    """Run an ONNX file under ONNX Runtime's own profiler, without `disabled` optimizers."""
    prefix = str(path.with_suffix(""))
    session = open_session(model, threads, disabled, enable_profiling=True, profile_file_prefix=prefix)
    session.run(None, feeds[0])
    for number in range(calls):
        session.run(None, feeds[number % len(feeds)])
    Path(session.end_profiling()).rename(path)
    return _of_events(json.loads(path.read_text()))


def _of_events(events: Iterable[dict[str, Any]]) -> list[OperatorTime]:
    """Add up the kernels of all runs but the first, which is not warm."""
    times: defaultdict[str, list[float]] = defaultdict(list)
    layers: defaultdict[str, dict[str, None]] = defaultdict(dict)
    seen: defaultdict[str, int] = defaultdict(int)
    for event in events:
        if event.get("cat") != "Node" or not str(event.get("name", "")).endswith(_KERNEL_TIME):
            continue
        seen[event["name"]] += 1
        if seen[event["name"]] > 1:
            operator = event["args"]["op_name"]
            times[operator].append(event["dur"] / 1e6)
            layers[operator][event["name"].removesuffix(_KERNEL_TIME)] = None
    return slowest_first(
        OperatorTime(name, len(own), sum(own), tuple(layers[name])) for name, own in times.items()
    )


_KERNEL_TIME = "_kernel_time"


def slowest_first(operators: Iterable[OperatorTime]) -> list[OperatorTime]:
    """Return operators by their own time, that of the slowest first."""
    return sorted(operators, key=lambda operator: -operator.self_s)
