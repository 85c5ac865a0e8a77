"""The caching allocator's rules: rounding, segments, best fit, merging."""

from __future__ import annotations

from bench.projection.allocator import reserved_bytes

MIB = 1 << 20


def test_small_blocks_share_a_segment_of_two_mebibytes():
    assert reserved_bytes([1, 600, MIB], [1, 2, 3]) == 2 * MIB


def test_blocks_from_one_to_ten_mebibytes_share_twenty():
    assert reserved_bytes([2 * MIB] * 10, range(1, 11)) == 20 * MIB
    assert reserved_bytes([2 * MIB] * 11, range(1, 12)) == 40 * MIB


def test_a_large_block_has_a_segment_of_its_own_in_steps_of_two_mebibytes():
    assert reserved_bytes([21 * MIB], [1]) == 22 * MIB


def test_freed_neighbours_merge_and_are_used_again():
    sizes = [4 * MIB, 4 * MIB, 9 * MIB]
    assert reserved_bytes(sizes, [1, 2, -1, -2, 3]) == 20 * MIB


def test_a_hole_that_is_too_small_costs_another_segment():
    sizes = [9 * MIB, 9 * MIB, 9 * MIB + 512, MIB + 512]
    # Both ends of the segment stay in use: the hole of 9 MiB does not take 9 MiB and a bit.
    assert reserved_bytes(sizes, [1, 2, -1, 3]) == 40 * MIB


def test_storages_without_bytes_take_none():
    assert reserved_bytes([0], [1, -1]) == 0
