"""`@pytest.mark.bench(...)`: a function that returns a model and inputs, measured and held against limits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from bench.errors import BenchError
from bench.matrix.limits import Limit
from bench.regression.finding import Finding
from bench.testing.cells import measure_model
from bench.testing.limits import read_limit
from reports.frames.limits import limits_of
from reports.frames.run import read_frames

SETTINGS: Mapping[str, tuple[type, ...]] = {
    "budget_s": (int, float, type(None)),
    "strict": (bool,),
    "backend": (str,),
    "compression": (str,),
    "batch_size": (int,),
    "max_launches": (int,),
    "outputs": (str,),
}
"""What the mark takes beside limits, with the types of each."""


@dataclass(frozen=True)
class Request:
    """What a mark asks for: limits by how they are written, how to measure, and whether untold ones fail."""

    limits: Mapping[str, Limit]
    strict: bool = False
    settings: Mapping[str, Any] = field(default_factory=dict)


def read_mark(arguments: Sequence[Any], keywords: Mapping[str, Any]) -> Request:
    """Return what a mark asks for; raises BenchError, in one line, where it cannot be."""
    if arguments:
        raise BenchError(f"bench: the mark takes limits by name, as max_latency_ms=5, got {arguments[0]!r}")
    settings = {name: value for name, value in keywords.items() if name in SETTINGS}
    for name, value in settings.items():
        if not isinstance(value, SETTINGS[name]) or (isinstance(value, bool) and name != "strict"):
            kinds = " or ".join(kind.__name__ for kind in SETTINGS[name])
            raise BenchError(f"bench: {name} must be {kinds}, got {value!r}")
    limits = {
        f"{name}={bound}": read_limit(name, bound) for name, bound in keywords.items() if name not in SETTINGS
    }
    if not limits:
        raise BenchError("bench: the mark has no limit; write one, as max_latency_ms=5")
    return Request(limits, bool(settings.pop("strict", False)), settings)


def check_model(request: Request, returned: Any, results: Path) -> list[Finding]:
    """Measure the model that a test returned; return a finding for each limit, in their order.

    Raises BenchError where the test returned anything else, or the model cannot be measured.
    """
    model, inputs, targets = _parts(returned, request)
    view = measure_model(model, inputs, results, targets=targets, **request.settings).view
    frames = read_frames(view)
    return [
        replace(finding, text=f"{written}: {finding.text}")
        for written, limit in request.limits.items()
        for finding in limits_of(view, frames, [limit]).findings
    ]


def failures(request: Request, findings: Sequence[Finding]) -> list[Finding]:
    """Return the findings that fail a test: broken limits and, if it is strict, all that are not kept."""
    return [
        finding for finding in findings if finding.alarms or (request.strict and finding.verdict != "kept")
    ]


def _parts(returned: Any, request: Request) -> tuple[Any, Any, Any]:
    import torch

    parts = returned if isinstance(returned, tuple) else (returned,)
    right = len(parts) in (2, 3) and isinstance(parts[0], torch.nn.Module)
    if not right or not all(isinstance(part, torch.Tensor) for part in parts[1:]):
        kinds = ", ".join(type(part).__name__ for part in parts)
        raise BenchError(
            f"bench: the test must return (nn.Module, inputs) or (nn.Module, inputs, targets), got ({kinds})"
        )
    targets = parts[2] if len(parts) == 3 else None
    needing = [
        written.partition("=")[0] for written, limit in request.limits.items() if limit.metric == "accuracy"
    ]
    if targets is None and needing:
        raise BenchError(f"bench: {needing[0]} needs targets: return (nn.Module, inputs, targets)")
    return parts[0], parts[1], targets
