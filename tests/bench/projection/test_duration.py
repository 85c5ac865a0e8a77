"""The time of a training step, by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bench.errors import BenchError
from bench.projection.devices import Utilization, find_device
from bench.projection.duration import step_time
from bench.projection.parallel import Batches, Blocks, Parallel, Update

BLOCKS = Blocks(count=8, bytes=800, largest_bytes=100, rest_bytes=200, output_bytes=0)
UPDATE = Update(state=2000, master_weights=500, temporaries=0)
DEVICE = replace(
    find_device("h100"),
    operations_per_s={"bf16": 1e12},
    bytes_per_s=1e4,
    link_bytes_per_s=1e4,
    training=Utilization(0.25, 0.5, "by hand"),
)


def step(split=Parallel(), batches=Batches(micro=1, count=1), operations=10**12, device=DEVICE):  # noqa: B008
    return step_time(device, "bf16", operations, BLOCKS, 1000, UPDATE, split, batches, again=False)


def test_a_step_takes_its_operations_at_the_utilization_and_its_update_at_the_memory_s_rate():
    found = step()
    assert found.seconds.low == pytest.approx(1 / 0.5)
    assert found.seconds.high == pytest.approx(1 / 0.25)
    # Gradients are read; weights, state and fp32 weights are read and written.
    assert found.update_s == pytest.approx((1000 + 2 * (1000 + 2000 + 500)) / 1e4)
    assert found.transfers_s == 0 and found.bubble == 0 and found.number == "bf16"


def test_the_high_end_has_a_long_update_and_transfers_after_the_operations():
    found = step(Parallel(dp=2), operations=10**10)
    assert found.transfers_s == pytest.approx(2 * 1000 / 2 / 1e4)
    assert found.seconds.high == pytest.approx(0.01 / 0.5 + 0.8 + 0.1)


def test_transfers_alone_are_the_least():
    assert step(Parallel(dp=2), operations=10**9).seconds.low == pytest.approx(0.1)


def test_a_pipeline_with_one_batch_is_no_faster_than_one_device():
    found = step(Parallel(pp=8))
    assert found.bubble == 7 / 8
    assert found.seconds.low == pytest.approx(step().seconds.low)


def test_more_batches_fill_a_pipeline():
    found = step(Parallel(pp=4), Batches(micro=1, count=4))
    assert found.bubble == 3 / 7
    assert found.seconds.low == pytest.approx(1 / 4 / 0.5 * 7 / 4)


def test_the_fullest_stage_of_a_pipeline_decides():
    found = step(Parallel(pp=3), Batches(micro=1, count=1000))
    assert found.seconds.low == pytest.approx(3 / 8 / 0.5, rel=0.01)


def test_each_stage_updates_what_is_beside_the_blocks_too():
    whole, stage = step(), step(Parallel(pp=4))
    assert stage.update_s == pytest.approx(whole.update_s * (200 + 200) / 1000)


def test_a_precision_without_a_peak_is_refused():
    with pytest.raises(BenchError, match="--precision fp32: no peak"):
        step_time(DEVICE, "fp32", 1, BLOCKS, 0, UPDATE, Parallel(), Batches(1, 1), again=False)
