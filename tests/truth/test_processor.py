"""What kind of CPU it is, from the kernel's own words on different machines."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.instruments import processor
from techniques.backends import cpu_features

CLOUD = """processor	: 0
vendor_id	: GenuineIntel
model name	: Intel(R) Xeon(R) CPU @ 2.20GHz
cpu MHz		: 2200.158
flags		: fpu sse2 avx2 {more} hypervisor

processor	: 1
model name	: another
"""
ARM = """processor	: 0
Features	: fp asimd asimddp {more}
CPU implementer	: 0x41
CPU part	: {part}
"""


@pytest.fixture
def cpuinfo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Return a function that says what /proc/cpuinfo holds."""
    monkeypatch.setattr(cpu_features, "CPUINFO", tmp_path / "cpuinfo")
    return (tmp_path / "cpuinfo").write_text


def test_one_name_for_two_generations_is_two_kinds(cpuinfo):
    cpuinfo(CLOUD.format(more=""))
    older = processor.kind_of_processor()
    cpuinfo(CLOUD.format(more="avx512f"))
    assert older == "Intel(R) Xeon(R) CPU @ 2.20GHz avx2"
    assert processor.kind_of_processor() == f"{older} avx512f"


def test_arm_cores_that_have_no_model_name_are_told_apart(cpuinfo):
    kinds = set()
    for part, more in (("0xd0c", ""), ("0xd40", "sve i8mm")):
        cpuinfo(ARM.format(part=part, more=more))
        kinds.add(processor.kind_of_processor())
    assert len(kinds) == 2 and all("0x41 0xd" in kind for kind in kinds)


def test_a_description_knows_the_hypervisor_the_clock_and_the_extensions(cpuinfo):
    cpuinfo(CLOUD.format(more="amx_tile"))
    found = processor.describe_processor()
    assert found["virtual_machine"] is True
    assert found["extensions"] == ["avx2", "amx_tile"]
    assert processor.clock_mhz() == 2200.158


def test_a_machine_without_cpuinfo_is_still_described(tmp_path, monkeypatch):
    monkeypatch.setattr(cpu_features, "CPUINFO", tmp_path / "none")
    assert processor.describe_processor()["model"]
    assert processor.kind_of_processor()
    assert processor.clock_mhz() is None
