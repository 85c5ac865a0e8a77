"""Energy and money of some time on some devices."""

from __future__ import annotations

from dataclasses import dataclass

from bench.analysis.money import price_of
from bench.matrix.file import Prices
from bench.projection.amounts import Range


@dataclass(frozen=True)
class Cost:
    """Joules of all devices, and money in `currency` with what it is made of; None is unknown."""

    energy_j: Range | None
    money: Range | None
    currency: str
    method: str


@dataclass(frozen=True)
class Charges:
    """A price table, whose `machine_per_hour` is of one device, and what one draws; None is unknown."""

    prices: Prices | None = None
    watts: float | None = None


def cost_of(seconds: Range, devices: int, charges: Charges) -> Cost | None:
    """Return what so many devices cost for that time; None where neither watts nor prices are known."""
    prices, watts = charges.prices, charges.watts
    energy = None if watts is None else seconds.times(devices * watts)
    if prices is None:
        return None if energy is None else Cost(energy, None, "", "")
    bounds = [
        price_of(prices.model_dump(), devices * own, joules, "estimated energy")
        for own, joules in (
            (seconds.low, energy.low if energy else None),
            (seconds.high, energy.high if energy else None),
        )
    ]
    (low, method), (high, _) = bounds
    money = None if low is None or high is None else Range(low, high)
    return Cost(energy, money, prices.currency, method)
