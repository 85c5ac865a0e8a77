"""`bench machine`: what a person and a program learn of this machine."""

from __future__ import annotations

import getpass
import json
import re
import socket

import pytest

from bench.commands import machine
from techniques.backends import BACKENDS
from techniques.backends.cpu_features import cpu_features, int8_saturates

SECTIONS = ("CPU", "Memory", "Accelerators", "Energy", "Probes", "A run uses", "Software", "Backends")


@pytest.fixture(scope="module")
def printed(bench) -> str:
    done = bench("machine")
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_it_prints_hardware_probes_what_a_run_uses_and_every_backend(printed):
    for section in SECTIONS:
        assert any(line.startswith(section) for line in printed.splitlines()), section
    for name in BACKENDS.rows():
        assert f"\n  {name} " in printed


def test_it_prints_what_the_cpu_computes_with(printed):
    features = ", ".join(cpu_features().cpu) or "none known"
    assert f"has     {features}" in printed
    assert int8_saturates(within_onednn=True) in printed


def test_each_backend_runs_or_says_why_not_as_the_table_does(bench):
    found = json.loads(bench("machine", "--json").stdout)["backends"]
    assert [backend["name"] for backend in found] == list(BACKENDS.rows())
    for backend in found:
        reason = BACKENDS.get(backend["name"]).unavailable()
        assert backend["runs"] == (reason is None)
        assert backend["runs"] or reason.startswith(backend["reason"])


def test_neither_host_nor_user_is_printed(printed):
    text = printed + json.dumps(machine.inspect())
    assert socket.gethostname() not in text
    assert f'"{getpass.getuser()}"' not in text


def test_what_does_not_run_is_printed_with_the_command_that_adds_it(bench, monkeypatch, tmp_path):
    plugin = tmp_path / "mine.py"
    plugin.write_text(
        "from techniques.backends import BACKENDS\n"
        "BACKENDS.add('mine', 'mine:Mine', about='mine', needs=('a_module_nobody_has',),"
        " install='pip install mine')\n"
    )
    monkeypatch.setenv("PATH", "/nowhere")  # no compiler
    monkeypatch.delenv("CXX", raising=False)
    text = bench("machine", "--plugin", plugin).stdout
    assert re.search(r"cpu-inductor +unavailable: requires a C\+\+ compiler", text)
    assert "install: apt install g++" in text
    assert "unavailable: requires the package a_module_nobody_has" in text
    assert "install: pip install mine" in text


def test_unknown_things_and_absent_counters_are_said_never_left_out(tmp_path, nvml, monkeypatch):
    nvml.nvmlInit = nvml.refuse
    monkeypatch.setattr(machine, "describe_probes", lambda: {"cpu_pressure": "it is not there"})
    monkeypatch.setattr(machine, "clock_mhz", lambda: None)
    found = machine.inspect()
    found["energy"]["RAPL"] = {"available": False, "reason": "no RAPL"}
    text = "\n".join(machine.lines(found))
    assert "clock   unknown" in text
    assert "none: no NVIDIA driver answers (Not Supported)" in text
    assert "RAPL    no: no RAPL" in text
    assert "NVML    no: no NVIDIA driver answers" in text
    assert "cpu pressure          no: it is not there" in text


def test_a_gpu_is_printed_with_driver_and_limits(nvml, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    nvml.nvmlDeviceGetMaxClockInfo = nvml.refuse
    found = machine.inspect()
    text = "\n".join(machine.lines(found))
    assert "NVIDIA H100 80GB HBM3, driver 580.159.04, CUDA 13.0, compute capability 9.0" in text
    assert "memory 79.6 GiB; power limit 650 W, at most 700 W; clocks up to unknown (SM)" in text
    assert "CUDA_VISIBLE_DEVICES is '0'" in text
    assert found["energy"]["NVML"] == {"available": True, "reason": ""}


def test_a_quota_below_the_cores_is_said_to_throttle_what_is_timed(nvml):
    found = machine.inspect()
    found["used"] |= {"cores": [0, 1], "cpu_quota": 1.5}
    assert "limits these 2 cores to 1.5 CPUs of time" in "\n".join(machine.lines(found))


def test_memory_for_workers_is_below_the_limit_of_the_control_group(monkeypatch):
    from bench.execution import resources

    monkeypatch.setattr(resources, "memory_limit_bytes", lambda: 100 << 20)
    assert resources.find_resources().memory_bytes == int(0.8 * (100 << 20))
    assert resources.find_resources(memory_gib=0.01).memory_bytes == int(0.01 * 2**30)
