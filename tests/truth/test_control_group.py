"""Limits of control groups, from folders laid out as each version of the kernel's interface does."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.instruments import control_group


@pytest.fixture
def group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Return a function that writes a membership and files below the root of all groups."""

    def write(membership: str, files: dict[str, str]) -> None:
        (tmp_path / "membership").write_text(membership)
        for name, text in files.items():
            (tmp_path / "root" / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "root" / name).write_text(text + "\n")

    monkeypatch.setattr(control_group, "_MEMBERSHIP", tmp_path / "membership")
    monkeypatch.setattr(control_group, "_ROOT", tmp_path / "root")
    return write


def test_the_least_limit_of_this_group_and_those_around_it_counts(group):
    group(
        "0::/service/worker\n",
        {
            "service/worker/memory.max": "max",
            "service/memory.max": "1073741824",
            "memory.max": "4294967296",
            "service/worker/cpu.max": "150000 100000",
            "service/cpu.max": "max 100000",
        },
    )
    assert control_group.memory_limit_bytes() == 2**30
    assert control_group.cpu_quota() == 1.5


def test_version_1_keeps_each_controller_in_a_folder_of_its_own(group):
    group(
        "4:memory:/worker\n3:cpu,cpuacct:/worker\n0::/\n",
        {
            "memory/worker/memory.limit_in_bytes": "2147483648",
            "memory/memory.limit_in_bytes": "9223372036854771712",
            "cpu,cpuacct/worker/cpu.cfs_quota_us": "50000",
            "cpu,cpuacct/worker/cpu.cfs_period_us": "100000",
            "cpu,cpuacct/cpu.cfs_quota_us": "-1",
            "cpu,cpuacct/cpu.cfs_period_us": "100000",
        },
    )
    assert control_group.memory_limit_bytes() == 2**31
    assert control_group.cpu_quota() == 0.5


def test_without_a_limit_there_is_none(group):
    group("0::/\n", {"memory.max": "max", "cpu.max": "max 100000"})
    assert control_group.memory_limit_bytes() is None
    assert control_group.cpu_quota() is None
