"""Causes for which a compressed model is faster: one function for each."""

from __future__ import annotations

from bench.diagnosis.cause import (
    AS_MANY,
    AS_SLOW,
    MIN_SHARE,
    NEAR_CEILING,
    Cause,
    Rule,
    numbers,
    percent,
    times,
)
from bench.diagnosis.evidence import Evidence, names_of
from bench.formatting import format_value


def fewer_operations(evidence: Evidence) -> Cause | None:
    """The model has fewer operations."""
    ratio = evidence.ratio("operations")
    if ratio is None or ratio >= AS_MANY:
        return None
    return Cause(
        "fewer operations", f"it has {times(ratio)} the operations of none", "dense FLOPs", 1 - ratio
    )


def fast_products(evidence: Evidence) -> Cause | None:
    """Low-precision products take less time than those that they replace."""
    low_s, replaced_s = evidence.own.seconds("low"), evidence.replaced_s
    latency_s = evidence.twin.latency_s
    if not low_s or not latency_s or low_s >= AS_SLOW * replaced_s:
        return None
    names = names_of(evidence.own.slowest("low"))
    took = f"{times(low_s / replaced_s)} the time of those in {evidence.precision} that they replace"
    how = ", which keep weights without their zeros," if evidence.own.sparse_kernels else ""
    sentence = f"its {numbers(evidence)} products ({names}){how} take {took}"
    return Cause("fast kernels", sentence, names, (replaced_s - low_s) / latency_s)


def fewer_bytes(evidence: Evidence) -> Cause | None:
    """Memory binds the uncompressed model, and fewer bytes move."""
    point, moved = evidence.twin.point, evidence.ratio("bytes_moved")
    if point is None or point.binds not in ("memory", "cache") or moved is None or moved >= AS_MANY:
        return None
    by = {"memory": "memory", "cache": "the cache"}[point.binds]
    sentence = f"none is bound by {by}, and this moves {times(moved)} the bytes"
    of_ceiling = f"none is at {percent(point.share)} of the bandwidth" if point.share else f"bound by {by}"
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
    return Cause("less besides products", sentence, f"{percent(share)} of none's time", share)


FOR_FASTER: tuple[Rule, ...] = (fewer_operations, fast_products, fewer_bytes, fewer_calls)
