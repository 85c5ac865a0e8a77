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
