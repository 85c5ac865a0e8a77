"""Why a compressed model is not faster than the uncompressed one on the same backend, or why it is.

One function a cause: it returns what the evidence says for it, or None. A cause is as strong as the share of
the time that it accounts for. Source of the bounds by arithmetic and memory: Williams, Waterman & Patterson
2009, "Roofline"; of what a part of the time can bring: Amdahl 1967.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

from bench.diagnosis.evidence import WEIGHTS_ONLY, Evidence, names_of
from bench.formatting import counted, format_value, three_digits
from techniques.backends.operator_kinds import converts, kind_of_operator, layers_taken

FASTER: Final = 1.1
"""From this ratio of speeds on a model counts as faster."""

TOLD_BY_ONE_LAUNCH: Final = 1.5
"""A single launch has no interval: it tells only what differs by this factor. Launches differ by less."""

MIN_SHARE: Final = 0.15
"""A cause that accounts for less of the time is not named."""

MIN_SHARE_OF_OTHERS: Final = 0.4
"""Where dispatch, or operators that stay as they are, take more, faster products bring 1.7 times at most."""

TINY_S: Final = 10e-6
"""Calling a kernel takes 1 to 10 µs in the runtimes here: one that takes no longer is mostly a call."""

AS_SLOW: Final = 0.9
"""Products that take this share of the time of those that they replace, or more, bring nothing."""

AS_MANY: Final = 0.9
"""A model with this share of the operations or bytes of another, or more, has as many."""

MIN_ZEROS: Final = 0.01
"""From this share of zero weights on, a model counts as one with zeroed weights."""

NEAR_CEILING: Final = 0.5
"""A call at this share of a measured ceiling, or more, is bound by it."""

FASTER_FORMAT: Final = 1.2
"""A number format whose measured peak is below this multiple of the precision's has no faster arithmetic."""

MAX_NAMES: Final = 3
"""Names of kernels in a sentence."""

IDLE_CPUS: Final = 0.75
"""A model that keeps fewer than this share of the CPUs busy that another does leaves threads idle."""

Verdict = Literal["faster", "not faster", "can't tell", "unknown"]


@dataclass(frozen=True)
class Cause:
    """A cause: its name, a sentence, what it rests on, and the share of the time that it accounts for."""

    name: str
    sentence: str
    evidence: str
    share: float


@dataclass(frozen=True)
class Answer:
    """A verdict, one sentence with its strongest cause, and all causes, strongest first."""

    verdict: Verdict
    sentence: str
    causes: tuple[Cause, ...] = ()


Rule = Callable[[Evidence], Cause | None]


def explain(evidence: Evidence) -> Answer:
    """Say in one sentence why a cell is not faster than its uncompressed twin, or why it is."""
    if evidence.problem:
        return _of_a_problem(evidence)
    if evidence.compression == "none":
        return Answer("unknown", "this is the uncompressed model, which the others are compared with")
    if evidence.plain is None or evidence.speedup is None:
        where = f"{evidence.backend}, {evidence.precision}, batch {evidence.batch_size}"
        return Answer("unknown", f"nothing to compare with: the run has no timing of none on {where}")
    found, causes = _verdict(evidence), _causes(evidence)
    if found == "can't tell":
        causes.insert(0, _interval(evidence))
    strongest = causes[0].sentence if causes else _nothing(evidence)
    return Answer(found, strongest, tuple(causes))


def _of_a_problem(evidence: Evidence) -> Answer:
    """Say why a cell has no valid timing, and what its record suggests all the same."""
    known = evidence.speedup is not None and evidence.compression != "none"
    causes = _causes(evidence) if known else []
    suggested = f"; the record suggests: {causes[0].sentence}" if causes else ""
    return Answer("unknown", f"{evidence.problem}{suggested}", tuple(causes))


def _causes(evidence: Evidence) -> list[Cause]:
    """Return the causes that the evidence has, strongest first."""
    rules = FOR_FASTER if (evidence.speedup or 0.0) >= FASTER else FOR_NOT_FASTER
    return sorted((cause for rule in rules if (cause := rule(evidence))), key=lambda cause: -cause.share)


def _verdict(evidence: Evidence) -> Verdict:
    speedup = evidence.speedup
    assert speedup is not None
    if evidence.same_timing:
        return "not faster"
    if evidence.low is None or evidence.high is None:
        told = not 1 / TOLD_BY_ONE_LAUNCH < speedup < TOLD_BY_ONE_LAUNCH
    else:
        told = evidence.low > 1 if speedup >= FASTER else evidence.high < FASTER
    return ("faster" if speedup >= FASTER else "not faster") if told else "can't tell"


def _interval(evidence: Evidence) -> Cause:
    launches = counted(evidence.launches, "launch")
    bounds = (
        f"no interval, {launches}"
        if evidence.low is None or evidence.high is None
        else f"{three_digits(evidence.low)} to {three_digits(evidence.high)}, {launches}"
    )
    sentence = f"the launches do not tell whether it is faster ({bounds}): run more of them"
    return Cause("interval", sentence, bounds, 1.0)


def _nothing(evidence: Evidence) -> str:
    if not evidence.own.operators:
        return "nothing in the record accounts for it: it has no profile of operators"
    shares = (f"{kind} {_percent(evidence.own.share(kind))}" for kind in ("low", "full", "other", "call"))
    return f"no single cause: {', '.join(shares)} of the time"


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _times(ratio: float) -> str:
    return f"{three_digits(ratio)}×"


def _numbers(evidence: Evidence) -> str:
    """Return the numbers that a format multiplies."""
    return (evidence.format or evidence.precision).partition("-")[0]


# Why it is not faster


def zeros(evidence: Evidence) -> Cause | None:
    """Weights are zero, and the kernels are dense."""
    share = evidence.own.zeros
    if share - evidence.twin.zeros < MIN_ZEROS or not _same_work(evidence):
        return None
    sentence = f"{_percent(share)} of the weights are zero, but the kernels are dense and multiply zeros too"
    timing = "one measurement with none" if evidence.same_timing else "as many operations as none"
    return Cause("dense kernels on zeros", sentence, timing, 1.0)


def unchanged(evidence: Evidence) -> Cause | None:
    """The same structure is served: only the values of weights differ."""
    if evidence.own.zeros - evidence.twin.zeros >= MIN_ZEROS or not _same_work(evidence):
        return None
    sentence = "it has the same layers and shapes as none: only the values of weights differ"
    return Cause("same structure", sentence, "as many operations as none", 1.0)


def _same_work(evidence: Evidence) -> bool:
    operations = evidence.ratio("operations")
    return evidence.same_timing or (evidence.format is None and operations is not None and operations > 0.99)


def conversions(evidence: Evidence) -> Cause | None:
    """Numbers are converted between formats or layouts, which the uncompressed model does not do."""
    latency_s = evidence.own.latency_s
    share = evidence.added_s / latency_s if latency_s else 0.0
    if share < MIN_SHARE:
        return None
    names = names_of(evidence.added()) or "within generated code"
    sentence = f"{_percent(share)} of the time goes into converting numbers and layouts ({names})"
    return Cause("conversions", sentence, f"{format_value('latency_s', evidence.added_s)} a call", share)


def fallback(evidence: Evidence) -> Cause | None:
    """Products stay in full precision, since the format does not take their layers."""
    share = evidence.own.share("full")
    if evidence.format is None or share < MIN_SHARE:
        return None
    products = evidence.own.slowest("full")
    taken = layers_taken(evidence.backend, evidence.format)
    why = f": here {evidence.format} takes {taken}" if taken else ""
    sentence = f"{_percent(share)} of the time is in products that stay in {evidence.precision} "
    layers = next((product.layers for product in products if product.layers), "")
    total = sum(operator.calls for operator in evidence.own.slowest("low", "full"))
    count = f"{sum(product.calls for product in products)} of {counted(total, 'product')}"
    return Cause(
        "full-precision layers",
        f"{sentence}({names_of(products)}){why}",
        f"{count}; layers {layers}" if layers else count,
        share,
    )


def compiled_code(evidence: Evidence) -> Cause | None:
    """A compiler's code is as slow, and what it calls says what is in it."""
    own, ratio = evidence.own, evidence.ratio("latency_s")
    if not evidence.is_opaque or evidence.format is None or ratio is None:
        return None
    kinds = {name: kind_of_operator(name) for name in own.kernels}
    converting = sum(map(converts, own.kernels))
    full = [name for name, kind in kinds.items() if kind == "full"]
    found = [f"{counted(converting, 'kernel')} in it convert numbers"] if converting else []
    found += [f"products stay in {evidence.precision} ({', '.join(full[:MAX_NAMES])})"] if full else []
    if not found:
        return None
    names = [name for name, kind in kinds.items() if kind == "low"]
    sentence = f"its compiled code takes {_times(ratio)} the time of none's: {', and '.join(found)}"
    low = ", ".join(names) or f"no {_numbers(evidence)} products"
    return Cause("compiled code", sentence, f"calls {low}", own.share("generated"))


def slow_products(evidence: Evidence) -> Cause | None:
    """Low-precision products take no less time than those that they replace."""
    low_s, replaced_s, share = evidence.own.seconds("low"), evidence.replaced_s, evidence.own.share("low")
    if share < MIN_SHARE or not replaced_s or low_s < AS_SLOW * replaced_s:
        return None
    took = f"take {_times(low_s / replaced_s)} the time of those in {evidence.precision} that they replace"
    names = names_of(evidence.own.slowest("low"))
    if evidence.format in WEIGHTS_ONLY:
        bound = evidence.own.point.binds if evidence.own.point else None
        which = f"and at batch {evidence.batch_size} arithmetic binds" if bound == "compute" else f"({names})"
        sentence = f"only weights are {_numbers(evidence)} and become {evidence.precision} in each product"
        return Cause("dequantizing kernel", f"{sentence} {which}: products {took}", names, share)
    lacking = _lacking(evidence)
    if lacking:
        sentence = f"{lacking}: {_numbers(evidence)} products {took}"
        return Cause("missing instructions", sentence, names, share)
    return Cause("slow kernels", f"its {_numbers(evidence)} products ({names}) {took}", names, share)


def _lacking(evidence: Evidence) -> str:
    """Say what keeps products in a low precision from being fast on this CPU; empty if nothing does."""
    features = evidence.features
    if features and "AVX2" in features and "VNNI" not in features and _numbers(evidence) == "int8":
        where = f" that it may use ({evidence.limits})" if evidence.limits else ""
        return f"this CPU has no VNNI or AMX{where}, so int8 is multiplied in 16 bits"
    own, plain = evidence.peaks.get(_numbers(evidence)), evidence.peaks.get(evidence.precision)
    if own and plain and own < FASTER_FORMAT * plain:
        rates = f"{format_value('ceiling_operations_per_s', own)} at most"
        return f"this machine is no faster in {_numbers(evidence)} than in {evidence.precision} ({rates})"
    return ""


def calls(evidence: Evidence) -> Cause | None:
    """Shapes are so small that calls, not arithmetic, take the time."""
    own, latency_s = evidence.own, evidence.own.latency_s
    if not latency_s or not own.operators or own.rest != "call":
        return None
    number = own.kernel_runs
    each_s = latency_s / max(1, number)
    share = max(own.share("call"), _of_tiny_kernels(evidence, each_s))
    # What the uncompressed model does not have either is that of other causes, as of conversions.
    share *= min(1.0, (evidence.twin.latency_s or latency_s) / latency_s)
    if share < MIN_SHARE_OF_OTHERS:
        return None
    each = format_value("latency_s", each_s)
    count = counted(number, "kernel")
    sentence = f"the shapes are so small that calls take the time, not arithmetic ({count}, {each} for each)"
    return Cause(
        "small shapes", sentence, f"{_percent(own.share('call'))} of the time outside kernels", share
    )


def _of_tiny_kernels(evidence: Evidence, each_s: float) -> float:
    """Return the share of the time that goes into calling kernels which themselves are next to nothing."""
    own, peak = evidence.own, evidence.peaks.get(evidence.precision)
    if each_s > TINY_S or not own.latency_s:
        return 0.0
    used = own.operations / own.latency_s / peak if own.operations and peak else 0.0
    return 1 - used if used < NEAR_CEILING else 0.0


def other_operators(evidence: Evidence) -> Cause | None:
    """The time is in operators that the compression leaves as they are."""
    latency_s = evidence.own.latency_s
    if not latency_s or not evidence.twin.operators:
        return None
    kept_s = min(evidence.own.seconds("other"), evidence.twin.seconds("other"))
    share = kept_s / latency_s
    if share < MIN_SHARE_OF_OTHERS:
        return None
    known = {operator.name for operator in evidence.twin.operators}
    names = names_of(o for o in evidence.own.slowest("other") if o.name in known)
    sentence = f"{_percent(share)} of the time is in operators that are not compressed ({names})"
    return Cause("other operators", sentence, f"{format_value('latency_s', kept_s)} a call", share)


def memory(evidence: Evidence) -> Cause | None:
    """Moving bytes takes the time, and as many of them move."""
    point, moved = evidence.own.point, evidence.ratio("bytes_moved")
    if point is None or point.binds != "memory" or (point.share or 0.0) < NEAR_CEILING:
        return None
    if moved is None or moved < AS_MANY or evidence.same_timing:
        return None
    share = min(1.0, point.share or 0.0)
    of_ceiling = f"{_percent(share)} of the measured bandwidth"
    sentence = f"it is bound by memory ({of_ceiling}) and moves {_times(moved)} the bytes of none"
    return Cause("bound by memory", sentence, of_ceiling, share)


def threads(evidence: Evidence) -> Cause | None:
    """Threads are idle that the uncompressed model keeps busy."""
    own, plain = evidence.own.busy_cpus, evidence.twin.busy_cpus
    if not own or not plain or plain < TOLD_BY_ONE_LAUNCH or own >= IDLE_CPUS * plain:
        return None
    sentence = (
        f"its kernels use fewer threads: {three_digits(own)} CPUs are busy, with none {three_digits(plain)}"
    )
    of = f"of {counted(evidence.threads, 'thread')}" if evidence.threads else ""
    return Cause("threads", sentence, f"{three_digits(own)} CPUs {of}".rstrip(), 1 - own / plain)


# Why it is faster


def fewer_operations(evidence: Evidence) -> Cause | None:
    """The model has fewer operations."""
    ratio = evidence.ratio("operations")
    if ratio is None or ratio >= AS_MANY:
        return None
    return Cause(
        "fewer operations", f"it has {_times(ratio)} the operations of none", "dense FLOPs", 1 - ratio
    )


def fast_products(evidence: Evidence) -> Cause | None:
    """Low-precision products take less time than those that they replace."""
    low_s, replaced_s = evidence.own.seconds("low"), evidence.replaced_s
    latency_s = evidence.twin.latency_s
    if not low_s or not latency_s or low_s >= AS_SLOW * replaced_s:
        return None
    names = names_of(evidence.own.slowest("low"))
    took = f"{_times(low_s / replaced_s)} the time of those in {evidence.precision} that they replace"
    sentence = f"its {_numbers(evidence)} products ({names}) take {took}"
    return Cause("fast kernels", sentence, names, (replaced_s - low_s) / latency_s)


def fewer_bytes(evidence: Evidence) -> Cause | None:
    """Memory binds the uncompressed model, and fewer bytes move."""
    point, moved = evidence.twin.point, evidence.ratio("bytes_moved")
    if point is None or point.binds not in ("memory", "cache") or moved is None or moved >= AS_MANY:
        return None
    by = {"memory": "memory", "cache": "the cache"}[point.binds]
    sentence = f"none is bound by {by}, and this moves {_times(moved)} the bytes"
    of_ceiling = f"none is at {_percent(point.share)} of the bandwidth" if point.share else f"bound by {by}"
    return Cause("fewer bytes", sentence, of_ceiling, (1 - moved) * min(1.0, point.share or NEAR_CEILING))


def fewer_calls(evidence: Evidence) -> Cause | None:
    """Less time goes into calls and operators that are not products."""
    latency_s = evidence.twin.latency_s
    if not latency_s or not evidence.own.operators or not evidence.twin.operators:
        return None
    saved_s = sum(
        evidence.twin.seconds(kind) - evidence.own.seconds(kind)
        for kind in ("call", "other", "conversion", "generated")
    )
    if saved_s < MIN_SHARE * latency_s:
        return None
    share = saved_s / latency_s
    sentence = (
        f"calls and operators other than products take {format_value('latency_s', saved_s)} less than in none"
    )
    return Cause("less besides products", sentence, f"{_percent(share)} of none's time", share)


FOR_NOT_FASTER: tuple[Rule, ...] = (
    *(
        zeros,
        unchanged,
        conversions,
        fallback,
        compiled_code,
        slow_products,
        calls,
        other_operators,
        memory,
        threads,
    ),
)
FOR_FASTER: tuple[Rule, ...] = (fewer_operations, fast_products, fewer_bytes, fewer_calls)
