"""The outputs of an untrained model, which reveal inputs that nothing else shows.

If an environment variable that `forward` reads, a file that another program reads, or a C library changes, so
do the outputs. They are compared, not hashed, because the number of threads changes their last digits.
"""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

    from bench.workloads.workload import Data, Workload

_SAMPLES = 2
_VALUES = 64
_DIGITS = 6
_TOLERANCE = {"torch.float32": 1e-3, "torch.float64": 1e-3}
_COARSE = 3e-2


def first_outputs(workload: Workload, data: Data, model: torch.nn.Module) -> str:
    """Return the outputs of a copy in evaluation mode for a few samples; empty if they are useless.

    That is the case if the model fails, returns numbers that are not finite, or others each time.
    """
    try:
        first, second = (_outputs(workload, data, model) for _ in range(2))
    except Exception:  # whatever a user's model raises; training reports it better
        return ""
    return first if first and same_outputs(first, second) else ""


def same_outputs(before: str, now: str) -> bool:
    """Say whether two answers of `first_outputs` are the same but for the last digits."""
    try:
        ours, theirs = json.loads(before), json.loads(now)
        allowed = ours["tolerance"] * max(map(abs, ours["values"]), default=0.0)
        pairs = list(zip(ours["values"], theirs["values"], strict=True))
    except (ValueError, KeyError, TypeError):
        return before == now
    return bool(ours["count"] == theirs["count"]) and all(abs(one - other) <= allowed for one, other in pairs)


def _outputs(workload: Workload, data: Data, model: torch.nn.Module) -> str:
    import torch

    from bench.instruments.copies import copy_of
    from bench.instruments.tensors import tensors_in
    from bench.workloads.loading import example_batch

    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        batch = example_batch(workload, data, workload.fixed_batch or _SAMPLES)
        answers = tensors_in([copy_of(model).eval()(batch)])
        found = [tensor for tensor in answers if tensor.is_floating_point()]
        values = torch.cat([tensor.flatten().double() for tensor in found]) if found else torch.empty(0)
    chosen: list[Any] = values[:: max(1, len(values) // _VALUES)][:_VALUES].tolist()
    if not chosen or not all(map(math.isfinite, chosen)):
        return ""
    tolerance = max(_TOLERANCE.get(str(tensor.dtype), _COARSE) for tensor in found)
    rounded = [float(f"{value:.{_DIGITS}g}") for value in chosen]
    return json.dumps({"tolerance": tolerance, "count": len(values), "values": rounded})
