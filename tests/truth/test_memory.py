"""Peak resident memory against blocks of known size."""

from __future__ import annotations

import mmap
import subprocess
import sys
from pathlib import Path

import pytest

from bench.instruments import memory
from bench.instruments.memory import PeakResident, resident_bytes

MIB = 1 << 20

pytestmark = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="Linux only")


def spike(size: int) -> None:
    """Touch every page of a block that goes back to the system at once, past any allocator's cache."""
    block = mmap.mmap(-1, size)
    for page in range(0, size, mmap.PAGESIZE):
        block[page] = 1
    block.close()


def test_a_short_spike_of_64_mib_is_seen_within_one_percent() -> None:
    spike(8 * MIB)
    with PeakResident() as resident:
        spike(64 * MIB)
    assert resident.growth_bytes == pytest.approx(64 * MIB, rel=0.01)
    assert resident.peak_bytes is not None
    assert resident.peak_bytes > resident_bytes() + 60 * MIB
    assert resident.method == memory.RESET
    assert resident.reason == ""


def test_an_earlier_and_larger_spike_does_not_count() -> None:
    spike(128 * MIB)
    with PeakResident() as resident:
        spike(16 * MIB)
    assert resident.growth_bytes == pytest.approx(16 * MIB, abs=MIB)


def test_what_is_given_back_right_before_the_reading_lacks_at_most_what_the_kernel_batches() -> None:
    spike(4 * MIB)
    for size in (64 << 10, 256 << 10, 1 << 20, 8 << 20):
        with PeakResident() as resident:
            spike(size)
        assert resident.growth_bytes is not None
        assert size - memory.BATCHED_BYTES <= resident.growth_bytes <= size + memory.BATCHED_BYTES


def test_growth_is_over_the_baseline_that_is_given() -> None:
    held = mmap.mmap(-1, 32 * MIB)
    before = resident_bytes()
    for page in range(0, 32 * MIB, mmap.PAGESIZE):
        held[page] = 1
    with PeakResident(before) as resident:
        pass
    held.close()
    assert resident.growth_bytes == pytest.approx(32 * MIB, abs=MIB)


def test_where_the_mark_cannot_be_reset_the_method_says_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(memory, "_CLEAR_REFS", tmp_path / "no folder" / "clear_refs")
    spike(96 * MIB)
    with PeakResident() as bound:
        spike(16 * MIB)
    assert bound.method == memory.NOT_RESET
    assert bound.growth_bytes is not None
    assert bound.growth_bytes >= 16 * MIB
    with PeakResident() as grown:
        spike(512 * MIB)
    assert grown.method == memory.GREW
    assert grown.growth_bytes == pytest.approx(512 * MIB, rel=0.01)


def test_without_a_high_water_mark_the_peak_is_unknown_and_not_0(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(memory, "_STATUS", tmp_path / "status")
    with PeakResident() as resident:
        pass
    assert resident.peak_bytes is None
    assert resident.growth_bytes is None
    assert resident.reason
    assert resident_bytes() > 0


def test_a_child_does_not_report_the_memory_of_its_parent() -> None:
    held = mmap.mmap(-1, 256 * MIB)
    for page in range(0, 256 * MIB, mmap.PAGESIZE):
        held[page] = 1
    program = (
        "from bench.instruments.memory import PeakResident as P\nwith P() as p: pass\nprint(p.peak_bytes)"
    )
    printed = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    ).stdout
    held.close()
    assert int(printed) < 128 * MIB
