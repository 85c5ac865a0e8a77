"""What a run's records say of why a cell is not faster than its uncompressed twin, or why it is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from bench.analysis.statistics import Interval
from bench.diagnosis.evidence import Evidence, Operator, Served
from reports.frames.roofline import infer_point
from reports.frames.view import RunView, training_of
from techniques.backends.operator_kinds import OUTSIDE, kind_of_operator

NONE = "none"

_OF_ONEDNN = ("cpu-eager", "cpu-inductor")
"""Backends whose products heed the limits that oneDNN does."""

Row = Mapping[str, Any]


def twin_of(row: Row, rows: Iterable[Row]) -> Row | None:
    """Return the uncompressed cell of the same training on the same backend, None without one."""
    place = ("backend", "precision", "batch_size", "machine")
    for other in rows:
        same_place = all(other[name] == row[name] for name in place)
        if other["compression"] == NONE and same_place and training_of(other) == training_of(row):
            return other
    return None


def evidence_of(view: RunView, row: Row, twin: Row | None, speedup: Interval | None = None) -> Evidence:
    """Collect what is known of a cell and its twin, both rows of the table of inference.

    `speedup` is over the twin; without it, that of the launches of both.
    """
    own_key = str(row["infer_key"] or "")
    ratio = speedup
    if ratio is None and twin is not None:
        ratio = view.latency_ratio(str(twin["infer_key"]), own_key)
    environment = _environment(view)
    limits = environment.get("cpu_limits") or {}
    lowered = view.stages.get(str(row["lower_key"] or ""))
    format_ = lowered.request.settings.get("format") if lowered else None
    return Evidence(
        compression=str(row["compression"]),
        backend=str(row["backend"]),
        own=_served(view, row),
        plain=_served(view, twin) if twin is not None and twin["latency_s"] else None,
        format=str(format_).partition(":")[0] if format_ else None,
        precision=str(row["precision"]),
        batch_size=int(row["batch_size"] or 1),
        speedup=ratio.value if ratio else None,
        low=ratio.low if ratio else None,
        high=ratio.high if ratio else None,
        launches=ratio.n if ratio else 0,
        same_timing=twin is not None and twin["infer_key"] == own_key,
        threads=_integer(environment.get("threads")),
        features=_features(environment, str(row["backend"])),
        limits=", ".join(f"{name}={value}" for name, value in limits.items()),
        peaks=_peaks(view, str(row["machine"] or "")),
        problem="" if row["state"] == "ok" else f"{row['state']}: {row['reason'] or 'no reason given'}",
    )


def _served(view: RunView, row: Row) -> Served:
    infer, lower = str(row["infer_key"] or ""), str(row["lower_key"] or "")
    kernels = view.reading(infer, "kernels").method.split(", ")
    return Served(
        latency_s=row["latency_s"],
        operators=operators_of(view, infer),
        rest=kind_of_operator(OUTSIDE, kernels),
        operations=row["dense_flops"],
        bytes_moved=row["least_bytes_moved"],
        parameters=row["parameters"],
        nonzero=row["nonzero_parameters"],
        busy_cpus=view.value(infer, "timed_cpu_over_wall"),
        point=infer_point(view, infer, lower),
        kernels=tuple(kernels),
        unprofiled=view.reading(infer, "operator_s").reason,
    )


def operators_of(view: RunView, infer: str) -> tuple[Operator, ...]:
    """Return the operators that a timing profiled, slowest first; none where it profiled none."""
    kernels = view.reading(infer, "kernels").method.split(", ")
    found = []
    for name in view.qualifiers(infer, "operator_s"):
        reading = view.reading(infer, "operator_s", name)
        if name and reading.value is not None:
            calls = view.reading(infer, "operator_calls", name)
            kind = kind_of_operator(name, kernels)
            found.append(Operator(name, kind, reading.value, round(calls.value or 1), calls.method))
    return tuple(found)


def _features(environment: Mapping[str, Any], backend: str) -> frozenset[str] | None:
    listed = environment.get("cpu_features")
    if not isinstance(listed, Mapping):
        return None
    owner = "onednn" if backend.partition(":")[0] in _OF_ONEDNN else "cpu"
    return frozenset(map(str, listed.get(owner) or ()))


def _environment(view: RunView) -> Mapping[str, Any]:
    return next((content for content in view.environments.values() if "cpu_features" in content), {})


def _peaks(view: RunView, machine: str) -> dict[str, float]:
    numbers = ("fp32", "bf16", "fp16", "int8")
    found = {n: view.ceiling("cpu", "ceiling_operations_per_s", n, machine) for n in numbers}
    return {number: peak for number, peak in found.items() if peak}


def _integer(value: Any) -> int | None:
    return int(value) if isinstance(value, int) else None
