"""What time and energy cost by a price table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

HOUR_S, KWH_J = 3600.0, 3.6e6


def price_of(
    prices: Mapping[str, Any], seconds: float, joules: float | None, energy_name: str
) -> tuple[float | None, str]:
    """Return the cost in the table's currency and what it is made of.

    `prices` has the keys of `[prices]` in a matrix file; `energy_name` says whether energy was measured.
    None where the table prices nothing that is known.
    """
    total, parts = 0.0, []
    if prices.get("machine_per_hour") is not None:
        total += seconds * prices["machine_per_hour"] / HOUR_S
        parts.append("machine time")
    if prices.get("energy_per_kwh") is not None and joules is not None:
        total += joules * prices["energy_per_kwh"] / KWH_J
        parts.append(energy_name)
    if not parts:
        return None, f"{prices['name']}: energy is unknown, and no machine price is set"
    return total, f"{prices['name']}: {' and '.join(parts)}, {prices['currency']}"
