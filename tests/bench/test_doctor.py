"""The doctor's advice follows from what it finds; its noise is measured over processes."""

from __future__ import annotations

import pytest

from bench import doctor
from bench.doctor import Diagnosis, advise, diagnosis_lines, measure_noise
from bench.instruments.ceilings import Ceilings
from bench.machine import inspect


@pytest.fixture
def machine(monkeypatch):
    monkeypatch.setattr(doctor, "read_text", {"/proc/loadavg": "0.00 0.00"}.get)
    found = inspect()
    found["cpu"] |= {"governor": "performance", "turbo": False, "virtual_machine": False}
    found["used"] |= {"cpu_quota": None}
    return found


def test_a_machine_that_is_set_up_well_needs_no_advice(machine):
    assert list(advise(machine, {"inference": 0.01})) == []


def test_what_disturbs_most_is_told_first(machine, monkeypatch):
    monkeypatch.setattr(doctor, "read_text", {"/proc/loadavg": "99.0 1 1"}.get)
    machine["cpu"] |= {"governor": "powersave"}
    told = list(advise(machine, {"inference": 0.2}))
    assert "the load is 99.0" in told[0] and "20 % apart" in told[1] and "powersave" in told[2]


def test_noise_is_measured_over_processes():
    noise = measure_noise(threads=1, launches=2)
    assert set(noise) == {"inference", "training step"}
    assert all(share >= 0 for share in noise.values())


def test_what_it_found_is_told_with_units_and_reasons(machine):
    ceilings = Ceilings({"fp32": 2e11, "int8": None}, 1e10, {"int8": "no kernel"})
    text = "\n".join(diagnosis_lines(Diagnosis(machine, ceilings, {"inference": 0.034}, ("sleep",))))
    for part in ("200.0 GFLOP/s", "no kernel", "3.4 %", "1. sleep"):
        assert part in text
