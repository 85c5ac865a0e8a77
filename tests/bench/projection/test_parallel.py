"""What each device holds and sends where training is split."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bench.errors import BenchError
from bench.projection.devices import find_device
from bench.projection.footprint import Peak
from bench.projection.parallel import (
    Batches,
    Blocks,
    Parallel,
    Update,
    communication_s,
    device_memory,
    parse_parallel,
    split_batch,
)

# 8 blocks of 100 bytes, and 200 beside them.
BLOCKS = Blocks(count=8, bytes=800, largest_bytes=100, rest_bytes=200, output_bytes=10)
PEAK = Peak(weights=1000, gradients=0, all_gradients=1000, activations=400, temporaries=80)
UPDATE = Update(state=2000, master_weights=0, temporaries=50)
ONE = Batches(micro=1, count=1)


def memory(**split):
    return device_memory(PEAK, BLOCKS, UPDATE, Parallel(**split), ONE)


def test_a_split_is_read_and_written_the_same():
    assert parse_parallel("fsdp=8,tp=2") == Parallel(fsdp=8, tp=2)
    assert str(parse_parallel("tp=2, fsdp=8")) == "fsdp=8,tp=2"
    assert parse_parallel("") == Parallel() and str(Parallel()) == "none"


@pytest.mark.parametrize("text", ["dpp=2", "dp", "dp=0", "dp=x", "dp=2,dp=2", "tp=-1"])
def test_a_split_that_is_none_is_refused_in_one_line(text):
    with pytest.raises(BenchError, match="--parallel"):
        parse_parallel(text)


def test_the_peak_of_one_device_is_that_of_its_step_or_of_its_update():
    # At the update all gradients are there, and no activations.
    assert memory().total == 1000 + 1000 + 2000 + 50
    few = device_memory(replace(PEAK, gradients=900), BLOCKS, UPDATE, Parallel(), ONE)
    assert few.total == 1000 + 900 + 2000 + 400 + 80


def test_sharding_divides_weights_gradients_and_state_and_gathers_blocks_and_what_is_beside_them():
    own = memory(fsdp=4)
    assert (own.weights, own.gradients, own.optimizer_state) == (250, 250, 500)
    # Two blocks and the gradients of one; the weights beside them, and theirs.
    assert own.activations == 400 and own.communication == 3 * 100 + 2 * 200


def test_sharding_a_model_without_blocks_gathers_it_whole():
    alone = Blocks(count=0, bytes=0, largest_bytes=0, rest_bytes=1000, output_bytes=0)
    own = device_memory(PEAK, alone, UPDATE, Parallel(fsdp=4), ONE)
    assert own.weights == 250 and own.communication == 2000


def test_nothing_is_gathered_while_weights_are_updated():
    large = replace(UPDATE, temporaries=10_000)
    own = device_memory(PEAK, BLOCKS, large, Parallel(fsdp=4), ONE)
    assert (own.temporaries, own.communication, own.activations) == (2500, 0, 0)


def test_copies_divide_nothing_and_keep_buckets_of_gradients():
    own = memory(dp=4)
    assert (own.weights, own.optimizer_state, own.communication) == (1000, 2000, 1000)


def test_tensor_parallelism_divides_weights_and_activations():
    own = device_memory(replace(PEAK, gradients=1000), BLOCKS, UPDATE, Parallel(tp=4), ONE)
    assert (own.weights, own.activations, own.temporaries) == (250, 100, 20)


def test_a_stage_of_a_pipeline_has_its_blocks_and_all_that_is_beside_them():
    own = device_memory(PEAK, BLOCKS, UPDATE, Parallel(pp=4), Batches(micro=1, count=8))
    assert own.weights == 2 * 100 + 200
    assert own.activations == 400  # of a quarter of the blocks, four batches


def test_the_fullest_stage_of_an_uneven_pipeline_counts():
    own = device_memory(PEAK, BLOCKS, UPDATE, Parallel(pp=3), Batches(micro=1, count=9))
    assert own.weights == 3 * 100 + 200
    assert own.activations == 3 * 400 * 3 / 8


@pytest.mark.parametrize(
    ("split", "heads", "reason"),
    [
        (Parallel(pp=9), 4, "pp=9 must be at most the 8 repeated blocks"),
        (Parallel(tp=3), 4, "tp=3 must divide the 4 attention heads"),
        (Parallel(tp=8), 4, "tp=8 must divide the 4 attention heads"),
    ],
)
def test_a_split_that_the_model_does_not_allow_is_refused(split, heads, reason):
    with pytest.raises(BenchError, match=reason):
        BLOCKS.refuse(split, heads)


def test_a_split_that_the_model_allows_is_not_refused():
    BLOCKS.refuse(Parallel(pp=8, tp=2), 4)
    BLOCKS.refuse(Parallel(tp=3), None)
    alone = Blocks(count=0, bytes=0, largest_bytes=0, rest_bytes=1000, output_bytes=0)
    alone.refuse(Parallel(fsdp=4), None)
    with pytest.raises(BenchError, match="at most the 0 repeated blocks"):
        alone.refuse(Parallel(pp=2), None)


def test_a_batch_divides_evenly_or_is_refused():
    assert split_batch(32, None, Parallel(fsdp=8)) == Batches(4, 1)
    assert split_batch(32, 2, Parallel(dp=4)) == Batches(2, 4)
    assert split_batch(32, None, Parallel(dp=4, pp=2)) == Batches(1, 8)
    with pytest.raises(BenchError, match="--batch 30 must be a multiple of the 8 replicas"):
        split_batch(30, None, Parallel(fsdp=8))
    with pytest.raises(BenchError, match="--micro-batch 3 must divide the 4 samples"):
        split_batch(32, 3, Parallel(fsdp=8))


@pytest.mark.parametrize(
    ("split", "devices", "found"),
    [
        (Parallel(), 8, Parallel(fsdp=8)),
        (Parallel(fsdp=2, tp=2), 16, Parallel(fsdp=8, tp=2)),
        (Parallel(dp=2), 8, Parallel(dp=8)),
        (Parallel(dp=2, fsdp=4), 32, Parallel(dp=8, fsdp=4)),
        (Parallel(tp=4), 6, None),
    ],
)
def test_more_devices_are_more_replicas(split, devices, found):
    assert split.over(devices) == found


def test_an_all_reduce_of_gradients_takes_twice_their_bytes_over_the_link():
    device = replace(find_device("h100"), link_bytes_per_s=1000.0, network_bytes_per_s=100.0)
    beside = communication_s(device, BLOCKS, 1000, Parallel(dp=8), ONE, again=False)
    beyond = communication_s(device, BLOCKS, 1000, Parallel(dp=16), ONE, again=False)
    assert beside == pytest.approx(2 * 1000 * 7 / 8 / 1000)
    assert beyond == pytest.approx(2 * 1000 * 15 / 16 / 100)
    assert communication_s(device, BLOCKS, 1000, Parallel(), ONE, again=False) == 0
    unknown = replace(device, link_bytes_per_s=None)
    assert communication_s(unknown, BLOCKS, 1000, Parallel(tp=2), ONE, again=False) is None


# By rings of 4 devices: a gather or a scatter sends 3/4 of its bytes, an all-reduce twice that.
@pytest.mark.parametrize(
    ("split", "batches", "again", "sent"),
    [
        # In each of 8 blocks two all-reduces forward and two backward, of 10 bytes a sample.
        (Parallel(tp=4), ONE, False, 8 * 4 * 2 * 10),
        (Parallel(tp=4), ONE, True, 8 * 6 * 2 * 10),
        (Parallel(tp=4), Batches(micro=2, count=3), False, 6 * 8 * 4 * 2 * 10),
        # Gathered forward and backward, but for the 200 bytes that stay; gradients are scattered.
        (Parallel(fsdp=4), ONE, False, (1000 + 800) + 1000),
        (Parallel(fsdp=4), Batches(micro=1, count=3), False, 3 * 2800),
        # A block's output to the next stage and its gradient back.
        (Parallel(pp=4), Batches(micro=1, count=3), False, 3 * 2 * 10),
        (Parallel(dp=4), Batches(micro=1, count=3), False, 2 * 1000),
    ],
)
def test_each_way_sends_what_its_paper_says(split, batches, again, sent):
    device = replace(find_device("h100"), link_bytes_per_s=1000.0)
    seconds = communication_s(device, BLOCKS, 1000, split, batches, again=again)
    assert seconds == pytest.approx(sent * 3 / 4 / 1000)


def test_ways_that_are_combined_send_parts_over_wider_links():
    device = replace(find_device("h100"), link_bytes_per_s=1000.0, network_bytes_per_s=100.0)
    both = communication_s(device, BLOCKS, 1000, Parallel(tp=8, dp=2), ONE, again=False)
    # Each of 8 devices has an eighth of the gradients, which go to another server.
    assert both == pytest.approx(8 * 4 * 2 * 10 * 7 / 8 / 1000 + 2 * 1000 / 8 * 1 / 2 / 100)
