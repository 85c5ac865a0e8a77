"""The environment names what decides results, and no host or user."""

from __future__ import annotations

import getpass
import json
import socket

from bench.instruments.energy import RaplCounter
from bench.instruments.environment import describe
from bench.instruments.gpu import GpuProbe


def test_the_environment_is_plain_json_with_cpu_memory_and_versions():
    found = describe()
    assert json.loads(json.dumps(found)) == found
    assert found["cpu"]["model"] and found["cpu"]["logical_cores"] >= 1
    assert found["memory_bytes"] > 0
    assert found["libraries"]["torch"]


def test_neither_host_nor_user_is_in_the_environment():
    text = json.dumps(describe())
    assert socket.gethostname() not in text
    assert f'"{getpass.getuser()}"' not in text


def test_energy_that_no_counter_shows_is_unknown_with_the_reason(tmp_path):
    counter = RaplCounter(tmp_path)
    counter.start()
    assert counter.joules() is None and "no RAPL" in counter.reason


def test_energy_adds_up_packages_and_mends_a_counter_that_wrapped(tmp_path):
    for name, before in (("intel-rapl:0", 900_000), ("intel-rapl:1", 100_000)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "energy_uj").write_text(str(before))
        (tmp_path / name / "max_energy_range_uj").write_text("1000000")
    counter = RaplCounter(tmp_path)
    counter.start()
    (tmp_path / "intel-rapl:0" / "energy_uj").write_text("400000")  # wrapped: 0.5 J used
    (tmp_path / "intel-rapl:1" / "energy_uj").write_text("1100000")  # 1 J used
    assert counter.joules() == 1.5


def test_a_probe_of_the_cpu_gives_energy_alone_never_an_invented_number():
    with GpuProbe("cpu") as probe:
        sum(range(1000))
    (energy,) = probe.measurements()
    assert energy.metric == "energy_j"
    assert (energy.value is None) == bool(energy.reason)
