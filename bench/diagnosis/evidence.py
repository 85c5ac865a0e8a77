"""What is known of a compressed model and of its uncompressed twin, where the speed of both is compared."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from bench.analysis.roofline import RooflinePoint
from techniques.backends.operator_kinds import Kind

WEIGHTS_ONLY = ("int8-weight", "int4-weight")
"""Formats whose weights become floats in each product."""

MAX_CALL_S = 20e-6
"""Calling a kernel costs no more than this in the runtimes here. What a call takes beyond is unexplained, as
where the profile was made while the machine was less busy."""


@dataclass(frozen=True)
class Operator:
    """An operator of a model: seconds of a call in it, under the profiler, and how often a call runs it."""

    name: str
    kind: Kind
    seconds: float
    calls: int = 1
    layers: str = ""


@dataclass(frozen=True)
class Served:
    """A model as it is served: its latency, where that goes, and what the model asks of the machine.

    `busy_cpus` are CPU seconds of all threads over wall seconds. `operations` and `bytes_moved` are logical
    ones of a call. Unknown numbers are None, and `operators` is empty where none were profiled: `unprofiled`
    may say why. `rest` is the kind of the time outside of operators: calls, or code that a compiler made.
    `kernels` are names of those that the model calls, also where a profile does not tell them apart.
    """

    latency_s: float | None = None
    operators: tuple[Operator, ...] = ()
    rest: Kind = "call"
    operations: float | None = None
    bytes_moved: float | None = None
    parameters: float | None = None
    nonzero: float | None = None
    busy_cpus: float | None = None
    point: RooflinePoint | None = None
    kernels: tuple[str, ...] = ()
    unprofiled: str = ""

    def share(self, kind: Kind) -> float:
        """Return the share of a call that goes into operators of a kind; 0 if none were profiled.

        The whole is a call as the profile saw it, not the latency: that was timed in a pass of its own, when
        the machine may have been busier. Only what lies outside of operators is what they leave over of the
        latency, for dispatch as far as calling them explains it: a profiler's own work would count as it.
        """
        if not self.latency_s or not self.operators:
            return 0.0
        computing = sum(operator.seconds for operator in self.operators if operator.kind != "call")
        left_s = max(0.0, self.latency_s - computing)
        outside = min(left_s, self.kernel_runs * MAX_CALL_S) if self.rest == "call" else left_s
        own = sum(operator.seconds for operator in self.operators if operator.kind == kind != "call")
        whole = computing + outside
        return (own + (outside if kind == self.rest else 0.0)) / whole if whole else 0.0

    def seconds(self, kind: Kind) -> float:
        """Return the seconds of the latency that go into operators of a kind, by their share."""
        return self.share(kind) * (self.latency_s or 0.0)

    @property
    def kernel_runs(self) -> int:
        """How many operators that compute a call runs."""
        return sum(operator.calls for operator in self.operators if operator.kind != "call")

    def slowest(self, *kinds: Kind) -> list[Operator]:
        """Return the operators of these kinds, slowest first."""
        return sorted((o for o in self.operators if o.kind in kinds), key=lambda o: -o.seconds)

    @property
    def sparse_kernels(self) -> list[str]:
        """Kernels that keep weights without their zeros, and unpack them as they multiply."""
        return [kernel for kernel in self.kernels if " sparse " in kernel]

    @property
    def zeros(self) -> float:
        """The share of weights that are zero; 0 where it is unknown."""
        if not self.parameters or self.nonzero is None:
            return 0.0
        return 1 - self.nonzero / self.parameters


@dataclass(frozen=True)
class Evidence:
    """A compressed model beside its uncompressed twin on the same backend, and what their machine can do.

    `speedup` has the bounds of its 95 % interval, None with one launch. `same_timing`: both run as one
    structure and share a measurement. `features` are the instructions that the backend's kernels may use, as
    `techniques.backends.cpu_features` names them; None where they are unknown. `peaks` are measured
    operations per second by number format. `problem` says why a cell has no timing.
    """

    compression: str
    backend: str
    own: Served
    plain: Served | None
    format: str | None = None
    precision: str = "fp32"
    batch_size: int = 1
    speedup: float | None = None
    low: float | None = None
    high: float | None = None
    launches: int = 0
    same_timing: bool = False
    threads: int | None = None
    features: frozenset[str] | None = None
    limits: str = ""
    peaks: Mapping[str, float] = field(default_factory=dict)
    problem: str = ""

    @property
    def twin(self) -> Served:
        """The uncompressed model, with nothing known of it where there is none."""
        return self.plain or Served()

    def ratio(self, name: str) -> float | None:
        """Return a number of the compressed model over that of the uncompressed one."""
        own, plain = getattr(self.own, name), getattr(self.twin, name)
        return own / plain if own is not None and plain else None

    @property
    def replaced_s(self) -> float:
        """Seconds of the uncompressed model in the products that the compressed one runs in low precision."""
        return max(0.0, self.twin.seconds("full") - self.own.seconds("full"))

    @property
    def added_s(self) -> float:
        """Seconds that conversions and the calls of these take beyond those of the uncompressed model.

        A runtime without kernels that quantize does it by additions, roundings and comparisons: with a
        format, operators count that the uncompressed model runs less or not at all.
        """
        if not self.twin.operators or self.is_opaque:
            return self.own.seconds("conversion")
        kinds: tuple[Kind, ...] = (
            ("conversion", "other", "generated", "call")
            if self.added() or self.own.rest == "generated"
            else ()
        )
        return sum(self._more(kind) for kind in (kinds if self.format else ("conversion",)))

    @property
    def is_opaque(self) -> bool:
        """Whether a compiler made the code, so that a profile does not tell products from conversions."""
        return self.own.rest == "generated" and not self.own.slowest("low", "full")

    def _more(self, kind: Kind) -> float:
        return max(0.0, self.own.seconds(kind) - self.twin.seconds(kind))

    def added(self) -> list[Operator]:
        """Return the operators that convert or that the uncompressed model does not run, slowest first."""
        known = {operator.name for operator in self.twin.operators}
        return [
            operator
            for operator in self.own.slowest("conversion", "other", "generated")
            if operator.kind == "conversion" or operator.name not in known
        ]


def names_of(operators: Iterable[Operator], most: int = 3) -> str:
    """Name operators, the first few."""
    names = list(dict.fromkeys(operator.name.removeprefix("aten::") for operator in operators))
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "")
