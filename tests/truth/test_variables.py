"""Environment variables that change the speed are on record and in keys; those that slow it are named."""

from __future__ import annotations

import pytest

from bench.analysis.comparable import differences, fingerprint
from bench.instruments.environment import describe
from bench.instruments.variables import DECIDING, deciding_variables, slow_variables
from bench.plan import keys


@pytest.fixture(autouse=True)
def _none_set(monkeypatch):
    for name in DECIDING:
        monkeypatch.delenv(name, raising=False)
    keys.device_kind.cache_clear()
    yield
    keys.device_kind.cache_clear()


def test_only_what_is_set_is_recorded(monkeypatch):
    assert deciding_variables() == {} and "variables" not in describe()
    monkeypatch.setenv("OMP_PROC_BIND", "close")
    monkeypatch.setenv("BENCH_STORE", "postgresql://user:secret@host/name")
    assert describe()["variables"] == {"OMP_PROC_BIND": "close"}


def test_records_with_and_without_a_variable_are_not_comparable(monkeypatch):
    before = describe()
    monkeypatch.setenv("OMP_WAIT_POLICY", "passive")
    after = describe()
    assert differences(before, after) == ["variables"]
    assert fingerprint(before) != fingerprint(after)


def test_what_was_made_under_a_variable_is_not_reused_without_it(monkeypatch):
    before = keys.device_kind("cpu", 2)
    monkeypatch.setenv("OMP_WAIT_POLICY", "passive")
    keys.device_kind.cache_clear()
    assert keys.device_kind("cpu", 2) == f"{before}, OMP_WAIT_POLICY=passive"


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("OMP_WAIT_POLICY", "PASSIVE", "threads sleep between two kernels"),
        ("OMP_WAIT_POLICY", "active", ""),
        ("GOMP_SPINCOUNT", "0", "threads sleep between two kernels"),
        ("GOMP_SPINCOUNT", "1000", ""),
        ("CUDA_LAUNCH_BLOCKING", "1", "each kernel is waited for"),
        ("CUDA_LAUNCH_BLOCKING", "0", ""),
    ],
)
def test_a_variable_that_slows_kernels_is_told(name, value, told):
    lines = slow_variables({name: value})
    assert len(lines) == bool(told) and all(name in line and told in line for line in lines)
