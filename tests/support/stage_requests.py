"""Requests of stages as a runner makes them, for what a test says nothing of."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from bench.records import Request

_PLAIN = Request(
    kind="",
    key="a" * 64,
    label="",
    settings={},
    parents={},
    plugins={},
    imports=(),
    results="",
    run_id="run",
    round=0,
    device="cpu",
    threads=1,
    cpus=(0,),
    memory_bytes=2**33,
    timeout_s=60,
)


def request_of(kind: str, results: Path, settings: dict[str, Any], **fields: Any) -> Request:
    """Return the request of a stage of this kind, on one core of the CPU."""
    return replace(_PLAIN, kind=kind, label=kind, results=str(results), settings=settings, **fields)
