"""Where the time of a call goes: a short pass under the runtime's own profiler."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.formatting import counted
from bench.records import Measurement
from techniques.backends.protocol import Program
from techniques.backends.tracing import OperatorTime
from techniques.registry import CannotApply

PASS_S = 1.0
"""No profile is begun after this: a runtime may load its model once more for each."""

PROFILES = 5
PROFILED_S = 0.2
MAX_CALLS = 20
MAX_OPERATORS = 30
MAX_LAYERS = 8


def operators_pass(
    program: Program, prepared: Sequence[Any], call_s: float, *, smoke: bool = False
) -> list[Measurement]:
    """Measure the seconds that a call spends in each operator itself, slowest first, under its name.

    `call_s` is about what a call takes. Of a few profiles each operator has its shortest time, which other
    work disturbed least; a smoke run makes one call. `operator_calls` is how often a call runs the operator;
    its method names the layers, where the runtime does.
    """
    calls = 1 if smoke else max(1, min(MAX_CALLS, int(PROFILED_S / call_s)))
    fastest: dict[str, OperatorTime] = {}
    profiles, started = 0, time.perf_counter()
    try:
        with tempfile.TemporaryDirectory() as folder:
            while not profiles or (profiles < PROFILES and not smoke and _since(started) < PASS_S):
                for operator in program.trace(prepared, calls, Path(folder, f"{profiles}.json")):
                    known = fastest.setdefault(operator.name, operator)
                    fastest[operator.name] = min(known, operator, key=lambda entry: entry.self_s)
                profiles += 1
    except CannotApply as error:
        return [Measurement("operator_s", None, reason=str(error))]
    except Exception as error:  # a profiler may fail where its runtime does not
        reason = f"the runtime's profiler failed: {type(error).__name__}: {error}".splitlines()[0]
        return [Measurement("operator_s", None, reason=reason)]
    many = f"{counted(profiles, 'profile')} of {counted(calls, 'call')}"
    method = f"the runtime's own profiler, the fastest of {many}"
    found: list[Measurement] = []
    slowest = sorted(fastest.values(), key=lambda entry: -entry.self_s)
    for operator in [entry for entry in slowest if entry.self_s > 0][:MAX_OPERATORS]:
        number, layers = operator.calls / calls, _layers(operator.layers)
        found += [
            Measurement("operator_s", operator.self_s / calls, method=method, qualifier=operator.name),
            Measurement("operator_calls", number, method=layers, qualifier=operator.name),
        ]
    return found


def _since(started: float) -> float:
    return time.perf_counter() - started


def _layers(names: Sequence[str]) -> str:
    more = len(names) - MAX_LAYERS
    return ", ".join([*names[:MAX_LAYERS], *([f"and {more} more"] if more > 0 else [])])
