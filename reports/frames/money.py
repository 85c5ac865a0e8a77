"""Cost and estimated energy, where the matrix file has a price table or watts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bench.analysis.money import price_of
from reports.frames.view import RunView

SERVING_COLUMNS = ("energy_estimate_j", "energy_estimate_method", "money_per_million", "money_method")
TRAINING_COLUMNS = (
    "energy_estimate_to_target_j",
    "energy_estimate_method",
    "money_to_target",
    "money_method",
)

_MILLION = 1e6


def serving_columns(
    view: RunView, latency_s: float | None, samples: int, energy_j: float | None
) -> dict[str, Any]:
    """Return the estimated energy of a call, and the cost of a million samples in calls of this size."""
    estimate_j, method = estimate(view, latency_s)
    money, how = money_of(view, latency_s, energy_j, estimate_j)
    per_million = None if money is None else money * _MILLION / samples
    return dict(zip(SERVING_COLUMNS, (estimate_j, method, per_million, how), strict=True))


def training_columns(view: RunView, seconds: float | None, energy_j: float | None) -> dict[str, Any]:
    """Return the estimated energy of training to the target, and its cost."""
    estimate_j, method = estimate(view, seconds)
    return dict(
        zip(
            TRAINING_COLUMNS,
            (estimate_j, method, *money_of(view, seconds, energy_j, estimate_j)),
            strict=True,
        )
    )


def estimate(view: RunView, seconds: float | None) -> tuple[float | None, str]:
    """Return the energy of so many seconds by the watts of the matrix, and how that was estimated."""
    watts = _section(view, "estimate").get("watts")
    if watts is None or seconds is None:
        return None, ""
    return watts * seconds, f"{watts:g} W (from the matrix) × time"


def money_of(
    view: RunView, seconds: float | None, energy_j: float | None, estimate_j: float | None
) -> tuple[float | None, str]:
    """Return the cost in the table's currency and what it is made of; None where there is no price table."""
    prices = _section(view, "prices")
    if not prices or seconds is None:
        return None, ""
    joules = estimate_j if energy_j is None else energy_j
    return price_of(prices, seconds, joules, "estimated energy" if energy_j is None else "measured energy")


def _section(view: RunView, section: str) -> Mapping[str, Any]:
    return view.run["request"].get(section) or {}
