"""A run's own peaks, and what its steps reached of them, become a device to plan for."""

from __future__ import annotations

import pytest

from bench.errors import BenchError
from bench.projection.devices import find_device
from reports.frames.reached import as_reached, measured_device
from reports.frames.view import read
from tests.support.synthetic_run import ENVIRONMENT, Synthetic, build


@pytest.fixture
def view(tmp_path):
    def make(**more):
        store = build(tmp_path, Synthetic(**more))
        found = read(store, "run-1")
        store.close()
        return found

    return make


def test_a_measured_device_has_the_run_s_ceilings_and_its_machine_s_memory(view):
    device = measured_device(view(environment={**ENVIRONMENT, "memory_bytes": 2**34}))
    assert device.operations_per_s == {"fp32": 1e12, "int8": 2e12}
    assert device.bytes_per_s == 2e11 and device.memory_bytes == 2**34
    assert not device.caches and "run-1" in device.source


def test_a_run_without_its_memory_is_no_device(view):
    with pytest.raises(BenchError, match="run run-1 measured no ceilings"):
        measured_device(view())


def test_time_is_projected_from_the_utilization_that_steps_reached(view):
    named = find_device("h100")
    device = as_reached(named, view(recomputed_flops=1e9), "elsewhere")
    assert 0 < device.training.low <= device.training.high < 1.02
    assert "reached by the steps of all models in run run-1" in device.training.source
    assert device.operations_per_s == named.operations_per_s


def test_where_the_run_has_the_workload_only_its_own_steps_count(view):
    found = view(recomputed_flops=1e9, workloads=("digits", "other"))
    own, every = (as_reached(find_device("h100"), found, name).training for name in ("digits", "elsewhere"))
    assert "of digits in run run-1" in own.source
    assert every.low <= own.low <= own.high <= every.high
