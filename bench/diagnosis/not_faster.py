"""Causes for which a compressed model is not faster: one function for each."""

from __future__ import annotations

from bench.diagnosis.cause import (
    AS_MANY,
    AS_SLOW,
    FASTER_FORMAT,
    IDLE_CPUS,
    MAX_NAMES,
    MIN_SHARE,
    MIN_SHARE_OF_OTHERS,
    MIN_ZEROS,
    NEAR_CEILING,
    TINY_S,
    TOLD_BY_ONE_LAUNCH,
    Cause,
    Rule,
    numbers,
    percent,
    times,
)
from bench.diagnosis.evidence import WEIGHTS_ONLY, Evidence, names_of
from bench.formatting import counted, format_value, three_digits
from techniques.backends.operator_kinds import converts, kind_of_operator, layers_taken

SPARSE_WEIGHTS = "OpenVINO does so from the share sparse_weights on, in linear layers whose sides 64 divides"


def zeros(evidence: Evidence) -> Cause | None:
    """Weights are zero, and the kernels are dense."""
    share = evidence.own.zeros
    if share - evidence.twin.zeros < MIN_ZEROS or not _same_work(evidence):
        return None
    sentence = f"{percent(share)} of the weights are zero, but the kernels are dense and multiply zeros too"
    timing = "one measurement with none" if evidence.same_timing else "as many operations as none"
    return Cause("dense kernels on zeros", sentence, timing, 1.0)


def not_sparse(evidence: Evidence) -> Cause | None:
    """Zeros are to be left out of int8 weights, and no product does so."""
    own = evidence.own
    if "sparse_weights" not in evidence.backend or evidence.format is None or own.sparse_kernels:
        return None
    if own.zeros < MIN_ZEROS or not own.operators:
        return None
    sentence = (
        f"{percent(own.zeros)} of the weights are zero, but no product leaves them out ({SPARSE_WEIGHTS})"
    )
    names = names_of(own.slowest("low"))
    return Cause("dense kernels on zeros", sentence, f"runs {names}", own.share("low"))


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
    sentence = f"{percent(share)} of the time goes into converting numbers and layouts ({names})"
    return Cause("conversions", sentence, f"{format_value('latency_s', evidence.added_s)} a call", share)


def fallback(evidence: Evidence) -> Cause | None:
    """Products stay in full precision, since the format does not take their layers."""
    share = evidence.own.share("full")
    if evidence.format is None or share < MIN_SHARE:
        return None
    products = evidence.own.slowest("full")
    taken = layers_taken(evidence.backend, evidence.format)
    why = f": here {evidence.format} takes {taken}" if taken else ""
    sentence = f"{percent(share)} of the time is in products that stay in {evidence.precision} "
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
    sentence = f"its compiled code takes {times(ratio)} the time of none's: {', and '.join(found)}"
    low = ", ".join(names) or f"no {numbers(evidence)} products"
    return Cause("compiled code", sentence, f"calls {low}", own.share("generated"))


def slow_products(evidence: Evidence) -> Cause | None:
    """Low-precision products take no less time than those that they replace."""
    low_s, replaced_s, share = evidence.own.seconds("low"), evidence.replaced_s, evidence.own.share("low")
    if share < MIN_SHARE or not replaced_s or low_s < AS_SLOW * replaced_s:
        return None
    took = f"take {times(low_s / replaced_s)} the time of those in {evidence.precision} that they replace"
    names = names_of(evidence.own.slowest("low"))
    if evidence.own.sparse_kernels:
        sentence = f"its products unpack weights that are kept without zeros: they {took}"
        return Cause("unpacking of sparse weights", sentence, names, share)
    if evidence.format in WEIGHTS_ONLY:
        bound = evidence.own.point.binds if evidence.own.point else None
        which = f"and at batch {evidence.batch_size} arithmetic binds" if bound == "compute" else f"({names})"
        sentence = f"only weights are {numbers(evidence)} and become {evidence.precision} in each product"
        return Cause("dequantizing kernel", f"{sentence} {which}: products {took}", names, share)
    lacking = _lacking(evidence)
    if lacking:
        sentence = f"{lacking}: {numbers(evidence)} products {took}"
        return Cause("missing instructions", sentence, names, share)
    return Cause("slow kernels", f"its {numbers(evidence)} products ({names}) {took}", names, share)


def _lacking(evidence: Evidence) -> str:
    """Say what keeps products in a low precision from being fast on this CPU; empty if nothing does."""
    features = evidence.features
    if features and "AVX2" in features and "VNNI" not in features and numbers(evidence) == "int8":
        where = f" that it may use ({evidence.limits})" if evidence.limits else ""
        return f"this CPU has no VNNI or AMX{where}, so int8 is multiplied in 16 bits"
    own, plain = evidence.peaks.get(numbers(evidence)), evidence.peaks.get(evidence.precision)
    if own and plain and own < FASTER_FORMAT * plain:
        rates = f"{format_value('ceiling_operations_per_s', own)} at most"
        return f"this machine is no faster in {numbers(evidence)} than in {evidence.precision} ({rates})"
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
    return Cause("small shapes", sentence, f"{percent(own.share('call'))} of the time outside kernels", share)


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
    sentence = f"{percent(share)} of the time is in operators that are not compressed ({names})"
    return Cause("other operators", sentence, f"{format_value('latency_s', kept_s)} a call", share)


def memory(evidence: Evidence) -> Cause | None:
    """Moving bytes takes the time, and as many of them move."""
    point, moved = evidence.own.point, evidence.ratio("bytes_moved")
    if point is None or point.binds != "memory" or (point.share or 0.0) < NEAR_CEILING:
        return None
    if moved is None or moved < AS_MANY or evidence.same_timing:
        return None
    share = min(1.0, point.share or 0.0)
    of_ceiling = f"{percent(share)} of the measured bandwidth"
    sentence = f"it is bound by memory ({of_ceiling}) and moves {times(moved)} the bytes of none"
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


FOR_NOT_FASTER: tuple[Rule, ...] = (
    *(
        zeros,
        not_sparse,
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
