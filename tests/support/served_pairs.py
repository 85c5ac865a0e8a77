"""A small model and its compressed form, both really served on this CPU: evidence for `bench why`."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from bench.diagnosis.evidence import Evidence, Operator, Served
from bench.instruments import flops
from bench.instruments.tensors import parameter_counts
from bench.stages.operators import operators_pass
from techniques.backends import BACKENDS
from techniques.backends.cpu_features import cpu_features
from techniques.backends.operator_kinds import OUTSIDE, kind_of_operator
from techniques.backends.protocol import Numerics, Program

TIMED_S = 0.15
LAUNCHES = 6
"""Number that the evidence is given: these tests are of causes, not of intervals."""


@dataclass(frozen=True)
class Loaded:
    """A served program with its prepared input."""

    program: Program
    prepared: Any
    model: nn.Module
    example: torch.Tensor

    def call(self) -> object:
        return self.program(self.prepared)


def load(
    backend: str,
    make: Callable[[], nn.Module],
    example: torch.Tensor,
    folder: Path,
    format_: str | None = None,
    precision: str = "fp32",
    threads: int = 1,
    kept: tuple[str, ...] = (),
) -> Loaded:
    """Lower a model as the suite does, with `kept` modules in full precision, and load it."""
    runtime, numerics = BACKENDS.parse(backend).create(), Numerics(format_, precision, kept=kept)
    folder.mkdir()
    runtime.lower(make(), example.clone(), numerics, [example.clone()] * 2, folder)
    program: Program = runtime.load(folder, make, numerics, threads)
    return Loaded(program, program.prepare(example), make(), example)


def fastest_s(first: Loaded, second: Loaded) -> tuple[float, float]:
    """Time two programs in turns, in blocks of calls; the fastest block of each is the least disturbed."""
    blocks = [calls_of(first), calls_of(second)]
    best = [float("inf"), float("inf")]
    until = time.perf_counter() + 2 * TIMED_S
    rounds = 0
    while time.perf_counter() < until or rounds < 3:
        for place, loaded in enumerate((first, second)):
            started = time.perf_counter()
            for _ in range(blocks[place]):
                loaded.call()
            best[place] = min(best[place], (time.perf_counter() - started) / blocks[place])
        rounds += 1
    return best[0], best[1]


def calls_of(loaded: Loaded) -> int:
    """Return how many calls take about 5 ms."""
    for _ in range(3):
        loaded.call()
    started = time.perf_counter()
    loaded.call()
    return max(1, int(0.005 / (time.perf_counter() - started)))


def served(loaded: Loaded, latency_s: float) -> Served:
    """Return what `bench run` would have recorded of a program."""
    kernels = loaded.program.kernels(loaded.prepared)
    measured = operators_pass(loaded.program, [loaded.prepared], latency_s)
    calls = {entry.qualifier: entry for entry in measured if entry.metric == "operator_calls"}
    total, nonzero = parameter_counts(loaded.model)
    with torch.no_grad():
        operations = flops.count(lambda: loaded.model(loaded.example)).total
    return Served(
        latency_s=latency_s,
        operators=tuple(
            Operator(
                entry.qualifier,
                kind_of_operator(entry.qualifier, kernels),
                entry.value or 0.0,
                round(calls[entry.qualifier].value or 1),
                calls[entry.qualifier].method,
            )
            for entry in measured
            if entry.metric == "operator_s"
        ),
        rest=kind_of_operator(OUTSIDE, kernels),
        operations=operations,
        parameters=total,
        nonzero=nonzero,
        busy_cpus=_busy_cpus(loaded),
        kernels=tuple(kernels),
    )


def _busy_cpus(loaded: Loaded) -> float:
    cpu_s, started = time.process_time(), time.perf_counter()
    while time.perf_counter() - started < TIMED_S:
        loaded.call()
    return (time.process_time() - cpu_s) / (time.perf_counter() - started)


def evidence_of_pair(own: Loaded, plain: Loaded, *, compression: str, backend: str, **known: Any) -> Evidence:
    """Time both and profile them; `known` are further fields of the evidence."""
    plain_s, own_s = fastest_s(plain, own)
    found = cpu_features()
    ratio = plain_s / own_s
    owner = found.onednn if backend.startswith("cpu-") else found.cpu
    return Evidence(
        compression,
        backend,
        served(own, own_s),
        served(plain, plain_s),
        **{"features": frozenset(owner), "speedup": ratio, "low": ratio, "high": ratio, "launches": LAUNCHES}
        | known,
    )
