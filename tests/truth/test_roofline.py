"""The roofline against points worked out by hand."""

from __future__ import annotations

import pytest

from bench.analysis.roofline import beats_machine, last_cache_bytes, number_format, roofline

PEAK, BYTES_PER_S = 100.0, 10.0


def test_a_call_with_many_operations_a_byte_is_bound_by_compute() -> None:
    point = roofline(500, 10, 10, PEAK, BYTES_PER_S)
    assert point is not None
    assert (point.operations_per_s, point.operations_per_byte, point.binds) == (50, 50, "compute")
    assert point.share == point.utilization == 0.5


def test_a_call_with_few_operations_a_byte_is_bound_by_memory() -> None:
    point = roofline(50, 50, 10, PEAK, BYTES_PER_S)
    assert point is not None
    # One operation a byte: memory allows 10 a second, the arithmetic 100.
    assert (point.binds, point.share, point.utilization) == ("memory", 0.5, 0.05)


def test_what_a_cache_holds_from_call_to_call_is_not_bound_by_memory() -> None:
    point = roofline(50, 50, 10, PEAK, BYTES_PER_S, cache_bytes=64)
    assert point is not None and (point.binds, point.share, point.utilization) == ("cache", None, 0.05)
    busy = roofline(5000, 50, 10, PEAK, BYTES_PER_S, cache_bytes=64)
    assert busy is not None and busy.binds == "compute"


def test_operations_that_the_model_does_not_need_are_the_hardwares_alone() -> None:
    point = roofline(500, 10, 10, PEAK, BYTES_PER_S, beyond_model=100)
    assert point is not None
    assert (point.hardware_utilization, point.utilization) == (0.5, pytest.approx(0.4))
    assert (point.share, point.operations_per_s) == (0.5, 50)
    plain = roofline(500, 10, 10, PEAK, BYTES_PER_S)
    assert plain is not None and plain.hardware_utilization == plain.utilization


def test_the_last_cache_is_read_from_the_environment() -> None:
    caches = {"L1 data": "32K", "L2 unified": "1024K", "L3 unified": "32768K"}
    assert last_cache_bytes({"cpu": {"caches": caches}}) == 32 << 20
    assert last_cache_bytes({"cpu": {"caches": {}}}) == last_cache_bytes({}) == 0


@pytest.mark.parametrize("missing", range(5))
def test_where_anything_is_unknown_there_is_no_point(missing: int) -> None:
    known: list[float | None] = [1, 1, 1, 1, 1]
    known[missing] = None
    assert roofline(*known) is None


def test_int8_formats_are_held_against_int8_products_and_the_rest_against_their_precision() -> None:
    assert number_format({"format": "int8-static", "precision": "fp32"}) == "int8"
    assert number_format({"format": None, "precision": "bf16"}) == "bf16"
    assert number_format({"precision": "fp32"}) == "fp32"
    assert number_format({"format": "int8-weight", "precision": "bf16"}) == "bf16"
    assert number_format({"format": "fp8", "precision": "fp32"}) == "fp8"


@pytest.mark.parametrize(
    ("operations", "beats"), [(1010, False), (1020, False), (1030, True), (90_000, True)]
)
def test_nothing_does_more_than_its_machine_can_but_for_two_percent_of_noise(
    operations: float, beats: bool
) -> None:
    reason = beats_machine(operations, 10, "fp32", {"fp32": PEAK})
    assert bool(reason) is beats
    assert not beats or reason.startswith(f"{operations / 10:.0f} % of the peak rate in fp32")


@pytest.mark.parametrize(
    ("number", "peaks", "beats"),
    [
        ("int8", {"fp32": 100.0, "int8": 400.0}, False),  # its own products are faster than those of fp32
        ("fp32", {"fp32": 100.0, "int8": 400.0}, True),
        ("int8", {"fp32": 100.0, "int8": 200.0}, True),
        ("bf16", {"fp32": 400.0, "bf16": 20.0}, False),  # emulated: a runtime may multiply in fp32
        ("bf16", {"fp32": 100.0, "bf16": 20.0, "int8": 400.0}, True),
        ("fp8", {"fp32": 100.0, "int8": 100.0}, False),  # no peak of its own: nothing to judge by
        ("fp32", {"fp32": None}, False),
        ("fp32", {}, False),
    ],
)
def test_a_call_is_judged_by_the_peak_of_its_own_numbers_or_of_wider_ones(
    number: str, peaks: dict[str, float | None], beats: bool
) -> None:
    assert bool(beats_machine(3000, 10, number, peaks)) is beats


def test_a_call_whose_operations_or_time_is_unknown_is_not_judged() -> None:
    peaks = {"fp32": PEAK}
    assert beats_machine(None, 1, "fp32", peaks) == beats_machine(1e9, None, "fp32", peaks) == ""
