"""fvcore's count of a model, an independent one: multiply-adds by module and operator.

It misses fused attention and recurrent layers, and adds 1 to 5 for each element of a norm.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from bench.instruments.flops import evaluating


@dataclass(frozen=True)
class Traced:
    """Multiply-adds by module, each by operator, and the operators passed over; the model's name is empty."""

    by_operator: Mapping[str, Mapping[str, int]]
    passed_over: Mapping[str, Mapping[str, int]]

    def macs(self, module: str = "") -> int:
        """Return the multiply-adds of a module with all that it calls."""
        return sum(self.by_operator.get(module, {}).values())


def trace(model: torch.nn.Module, example: torch.Tensor) -> Traced | None:
    """Return fvcore's count of one forward pass, None for a model it cannot trace."""
    from fvcore.nn import FlopCountAnalysis

    try:
        with _quiet("fvcore.nn.jit_analysis"), evaluating(model):
            analysis = FlopCountAnalysis(model, example)
            analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False).tracer_warnings("none")
            counts = analysis.by_module_and_operator()
            passed_over = {name: dict(analysis.unsupported_ops(name)) for name in counts}
    except Exception:  # whatever tracing raises: this count only stands beside ours
        return None
    by_operator = {name: {op: int(count) for op, count in own.items()} for name, own in counts.items()}
    return Traced(by_operator, passed_over)


@contextmanager
def _quiet(logger: str) -> Iterator[None]:
    log = logging.getLogger(logger)
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(level)
