"""The doctor's advice follows from what it finds; its noise is measured over processes."""

from __future__ import annotations

import pytest

from bench.analysis.statistics import Interval
from bench.commands import doctor
from bench.commands.doctor import Advice, Diagnosis, advise, diagnosis_lines, measure_launches
from bench.commands.machine import inspect
from bench.instruments.ceilings import Ceilings

CHEAP = {"inference": Interval(1.0, 0.95, 1.05, 6, "")}
DEAR = {**CHEAP, "training step": Interval(1.5, 1.4, 1.6, 6, "")}


@pytest.fixture
def machine(monkeypatch):
    monkeypatch.setattr(doctor, "read_text", {"/proc/loadavg": "0.00 0.00"}.get)
    found = inspect()
    found["cpu"] |= {"governor": "performance", "turbo": False, "virtual_machine": False}
    found["used"] |= {"cpu_quota": None, "variables": {}}
    return found


def test_a_machine_that_is_set_up_well_needs_no_advice(machine):
    assert list(advise(machine, {"inference": 0.01}, CHEAP)) == []


def test_a_variable_that_makes_kernels_slow_is_told(machine):
    machine["used"]["variables"] = {"OMP_WAIT_POLICY": "passive"}
    (advice,) = advise(machine, {"inference": 0.01}, CHEAP)
    assert "OMP_WAIT_POLICY=passive is set" in advice.text


def test_advice_has_the_effect_that_was_measured(machine, monkeypatch):
    monkeypatch.setattr(doctor, "read_text", {"/proc/loadavg": "99.0 1 1"}.get)
    machine["cpu"] |= {"governor": "powersave"}
    told = {advice.text: advice.effect for advice in advise(machine, {"inference": 0.2}, DEAR)}
    allocator, load, noise, governor = told
    assert "probe's training step takes 1.50 times" in allocator and "MALLOC_TRIM_THRESHOLD_=" in allocator
    assert told[allocator] == pytest.approx(0.5) and told[noise] == 0.2 and told[load] > 1
    assert "the load is 99.0" in load and "differ by 20 % (inference)" in noise
    assert "powersave" in governor and told[governor] is None


@pytest.mark.slow
def test_launches_are_processes_with_memory_kept_and_without_in_turns():
    kept, left = measure_launches(threads=1, launches=2)
    for medians in (kept, left):
        assert set(medians) > {"inference", "training step", "peak resident memory"}
        assert all(len(values) == 2 and min(values) > 0 for values in medians.values())


def test_what_it_found_is_told_with_units_and_reasons(machine):
    ceilings = Ceilings({"fp32": 2e11, "int8": None}, 1e10, {"int8": "no kernel"})
    found = Diagnosis(machine, {"cpu": ceilings}, {"inference": 0.034}, DEAR, (Advice("sleep", 0.3),))
    text = "\n".join(diagnosis_lines(found))
    for part in ("200.0 GFLOP/s", "no kernel", "3.4 %", "1.50 (1.40 to 1.60)", "1. sleep [30 %]"):
        assert part in text
