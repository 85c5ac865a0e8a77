"""The table of engines: where the stages of a run are carried out, on this machine or on a cluster's nodes.

What a row names is called as `connect(setup, say, **settings)` and returns an `Engine`; `local` is none of
them, since it needs no connection. An installed package adds a row through the entry-point group
`bench.engines`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from bench.errors import BenchError
from techniques.registry import Registry, Row, Technique

if TYPE_CHECKING:
    from bench.execution.engines.agent import Setup
    from bench.execution.engines.engine import Engine

LOCAL = "local"

ENGINES: Registry[Row] = Registry("engine", Row, entry_points="bench.engines")

ENGINES.add(LOCAL, "bench.execution.engines.local:this_machine", about="This machine")
ENGINES.add(
    "ray",
    "bench.execution.engines.ray:ray_engine",
    about="The nodes of the Ray cluster at RAY_ADDRESS, or a Ray of its own on this machine",
    needs=("ray",),
    install="pip install 'dl-efficiency-bench[ray]'",
)
ENGINES.add(
    "slurm",
    "bench.execution.engines.slurm:slurm_engine",
    about="Nodes of a Slurm cluster, each in a job that has it alone",
    defaults={
        **{"nodes": 1, "minutes": 720, "partition": "", "account": "", "qos": "", "constraint": ""},
        **{"gres": "", "cluster": "slurm"},
    },
    argument="nodes",
    ranges={"nodes": "[1, 1000]", "minutes": "[1, 1000000]"},
    needs=("submitit",),
    install="pip install 'dl-efficiency-bench[slurm]'",
)


def engine_named(text: str) -> Technique[Row]:
    """Return the engine of this name; raises BenchError that says what to install where that is missing."""
    technique = ENGINES.parse(text)
    reason = technique.row.unavailable()
    if reason:
        raise BenchError(f"--engine {technique.name}: {reason}")
    return technique


def connect(text: str, setup: Callable[[], Setup], say: Callable[[str], None]) -> Engine | None:
    """Connect to a cluster and wait for its first node; None where the engine is this machine.

    Raises BenchError where there is no node.
    """
    technique = engine_named(text)
    if technique.name == LOCAL:
        return None
    engine: Engine = technique.create(setup(), say)
    return engine
