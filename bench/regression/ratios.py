"""What the ratio of two sides says: worse, better, no change, or can't tell."""

from __future__ import annotations

from bench.analysis.statistics import Interval
from bench.formatting import three_digits
from bench.regression.finding import Verdict


def bounds(ratio: Interval) -> tuple[float, float]:
    """Return both ends of an interval that has them."""
    assert ratio.low is not None and ratio.high is not None
    return ratio.low, ratio.high


def settled(
    ratio: Interval, margin: float, threshold: float, *, differs: bool = True
) -> tuple[Verdict, float | None] | None:
    """Return what a ratio settles, above 1 being worse, and the largest change that may be; or None.

    It is a change where the interval lies beyond `threshold` on one side, and chance is no explanation
    (`differs`); it is none where the interval lies within `margin`. Both are shares.
    """
    low, high = bounds(ratio)
    if differs and low > 1 + threshold:
        return "regression", None
    if differs and high < 1 / (1 + threshold):
        return "improvement", None
    widest = max(high, 1 / low) - 1
    return ("no change", widest) if widest <= margin else None


def smallest_told(ratio: Interval, seen: float, threshold: float) -> float:
    """Return the share by which a side that can't be told would have to be worse to be told.

    `seen` is the share that four of five comparisons would tell from none; here they must tell it from
    `threshold`.
    """
    return max((1 + seen) * (1 + threshold) - 1, bounds(ratio)[1] - 1)


def in_words(verdict: Verdict, ratio: Interval, bound: float | None, metric: str) -> str:
    """Return a ratio with its interval and what it says: `x1.08 [1.06, 1.10], slower by 7.9%`."""
    worse, better = ("slower", "faster") if metric.endswith("_s") else ("worse", "better")
    low, high = bounds(ratio)
    what = {
        "regression": f"{worse} by {ratio.value - 1:.1%}",
        "improvement": f"{better} by {1 - ratio.value:.1%}",
        "no change": f"no change larger than {bound or 0:.1%}",
    }.get(verdict, f"would have seen {bound or 0:.1%}")
    return f"x{three_digits(ratio.value)} [{three_digits(low)}, {three_digits(high)}], {what}"
