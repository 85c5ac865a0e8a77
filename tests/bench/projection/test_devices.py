"""Devices by name: every row has the published peaks that it needs."""

from __future__ import annotations

import pytest

from bench.errors import BenchError
from bench.projection.devices import MEASURED, find_device, names


@pytest.mark.parametrize("name", [name for name in names() if name != MEASURED])
def test_every_device_has_peaks_and_memory(name):
    device = find_device(name)
    assert device.peak("mixed")[0] > 0 and device.bytes_per_s > 0 and device.memory_bytes > 2**33
    assert device.source


@pytest.mark.parametrize(("name", "sold"), [("t4", 16), ("a10", 24), ("l4", 24), ("a40", 48), ("l40s", 48)])
def test_error_correction_takes_a_sixteenth_of_gddr6(name, sold):
    assert 0.9 < find_device(name).memory_bytes / (sold * 2**30) < 15 / 16


@pytest.mark.parametrize(("name", "sold"), [("a100", 80), ("h100", 80), ("a100-40gb", 40), ("rtx-4090", 24)])
def test_the_driver_keeps_a_little_of_every_device(name, sold):
    assert 0.97 < find_device(name).memory_bytes / (sold * 2**30) < 1


def test_the_utilization_of_large_models_is_from_the_least_that_was_published_to_the_most():
    used = find_device("h100").training
    assert (used.low, used.high) == (0.213, 0.57)


def test_an_unknown_device_names_the_nearest():
    with pytest.raises(BenchError, match=r"no device 'h10'.*h100"):
        find_device("h10")


def test_mixed_precision_multiplies_in_bf16_or_else_fp16():
    assert find_device("a100").peak("mixed") == (312e12, "bf16")
    assert find_device("v100").peak("mixed") == (125e12, "fp16")


def test_a_precision_without_a_published_peak_is_refused():
    with pytest.raises(BenchError, match="--precision fp32: no peak of TPU v4"):
        find_device("tpu-v4").peak("fp32")


def test_beyond_a_server_devices_talk_over_the_network():
    device = find_device("a100")
    assert device.bytes_between(8) == 300e9 and device.bytes_between(16) == 25e9
    assert find_device("v100").bytes_between(16) == 6.25e9  # four ports of 100 Gb/s for eight
