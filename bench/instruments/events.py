"""What PyTorch's profiler saw, without `torch.profiler`, which imports a compiler for two seconds."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch._C._profiler import _ExperimentalConfig
from torch.autograd.profiler import profile

from bench.instruments.script_threads import awaiting_scripts

os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # it writes lines to the terminal for each profile


@contextmanager
def profiling(*, memory: bool = False, all_threads: bool = False) -> Iterator[list[Any]]:
    """Profile the block; the list that it gets is filled after it with the outermost events of each thread.

    Events have `name`, `children` and `start_tid`. They are of the block's own thread and of TorchScript's
    forks, with `all_threads` of every thread; then those of memory, which `memory` asks for, are missing.
    """
    config = _ExperimentalConfig(profile_all_threads=all_threads)
    events: list[Any] = []
    with profile(profile_memory=memory, experimental_config=config) as profiled, awaiting_scripts():
        yield events
    results: Any = profiled.kineto_results
    if results is not None:
        events += results.experimental_event_tree()
