"""Money follows from the price table that the record names; an estimate says that it is one."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from reports.frames.money import serving_columns, training_columns

PRICES = {"name": "list of May", "currency": "EUR", "machine_per_hour": 0.36, "energy_per_kwh": 0.25}


def view(**request: object) -> SimpleNamespace:
    return SimpleNamespace(run={"request": request})


def test_a_million_answers_cost_machine_time_and_measured_energy():
    found = serving_columns(view(prices=PRICES), latency_s=0.032, samples=32, energy_j=1.6)
    # 1 ms and 0.05 J a sample: 1000 s at 0.0001 EUR, 50 kJ = 13.9 Wh at 0.25 EUR a kWh.
    assert found["money_per_million"] == pytest.approx(0.1 + 0.25 * 50_000 / 3.6e6)
    assert found["money_method"] == "list of May: machine time and measured energy, EUR"
    assert found["energy_estimate_j"] is None


def test_an_estimate_is_made_on_request_only_and_money_from_it_says_so():
    found = serving_columns(view(prices=PRICES, estimate={"watts": 50}), 0.01, 1, None)
    assert found["energy_estimate_j"] == pytest.approx(0.5)
    assert found["energy_estimate_method"] == "50 W (from the matrix) × time"
    assert "estimated energy" in found["money_method"]


def test_without_a_price_table_or_a_timing_there_is_no_money():
    assert serving_columns(view(), 0.01, 1, 1.0)["money_per_million"] is None
    assert serving_columns(view(prices=PRICES), None, 1, 1.0)["money_per_million"] is None


def test_unknown_energy_costs_no_invented_money():
    only_energy = {**PRICES, "machine_per_hour": None}
    found = training_columns(view(prices=only_energy), 60.0, None)
    assert found["money_to_target"] is None and "energy is unknown" in found["money_method"]
    assert training_columns(view(prices=PRICES), 100.0, None)["money_to_target"] == pytest.approx(0.01)
