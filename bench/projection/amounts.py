"""Ranges, and large numbers as people write them."""

from __future__ import annotations

import re
from dataclasses import dataclass

from bench.errors import BenchError

_FACTORS = {"": 1.0, "K": 1e3, "M": 1e6, "B": 1e9, "T": 1e12}


@dataclass(frozen=True)
class Range:
    """A least and a greatest value."""

    low: float
    high: float

    def plus(self, other: Range) -> Range:
        """Return the range of the sum."""
        return Range(self.low + other.low, self.high + other.high)

    def times(self, factor: float) -> Range:
        """Return the range of so many times the value."""
        return Range(self.low * factor, self.high * factor)


def parse_amount(option: str, text: str) -> float:
    """Read `300e9`, `300B` or `1.4T`. Raises BenchError for anything else."""
    found = re.fullmatch(r"([0-9][0-9_]*\.?[0-9]*(?:e[+]?[0-9]{1,3})?)([KMBT]?)", text.strip(), re.IGNORECASE)
    amount = float(found[1].replace("_", "")) * _FACTORS[found[2].upper()] if found else 0.0
    if not 1 <= amount < 1e30:
        raise BenchError(f"{option} must be a number such as 300e9, 300B or 1.4T, got {text!r}")
    return amount


def write_amount(number: float) -> str:
    """Write a large number with its unit: `174.6 billion`, `3.14e+23` beyond trillions."""
    for factor, name in ((1e12, "trillion"), (1e9, "billion"), (1e6, "million")):
        if factor <= number < 1e15:
            return f"{number / factor:,.4g} {name}"
    return f"{number:,.0f}" if number < 1e6 else f"{number:.3g}"
