"""The time of a training step as a range: between what is usually, or was, reached of the device's peak."""

from __future__ import annotations

from dataclasses import dataclass

from bench.projection.amounts import Range
from bench.projection.devices import Device
from bench.projection.parallel import (
    Batches,
    Blocks,
    Parallel,
    Update,
    communication_s,
    share_of_weights,
)


@dataclass(frozen=True)
class StepTime:
    """Seconds of a step on all devices.

    `low` is the operations of the fullest stage at the best utilization with the pipeline's bubble, or the
    transfers where those alone take longer. `high` is the operations at the least one, or `low` with the
    update and the transfers after it. Published utilizations have all of these in them, but no large bubble.

    `transfers_s` and `update_s` are at the peak of links and memory, `bubble` is the share of a pipeline's
    time in which a stage waits. `number` is the format that the peak is of.
    """

    seconds: Range
    transfers_s: float | None
    update_s: float
    bubble: float
    number: str
    utilization_low: float
    utilization_high: float


def step_time(
    device: Device,
    precision: str,
    operations: int,
    blocks: Blocks,
    gradient_bytes: int,
    update: Update,
    parallel: Parallel,
    batches: Batches,
    *,
    again: bool,
) -> StepTime:
    """Return the time of a step in which each replica does so many operations, recomputation with them.

    `again`: blocks run once more in the backward pass. Raises BenchError where the device has no peak in the
    precision.
    """
    peak, number = device.peak(precision)
    least_s = operations * blocks.share(parallel) / parallel.tp / peak
    used = device.training
    transfers_s = communication_s(device, blocks, gradient_bytes, parallel, batches, again)
    bubble = (parallel.pp - 1) / (batches.count + parallel.pp - 1)
    update_s = _update_bytes(gradient_bytes, blocks, update, parallel) / device.bytes_per_s
    best_s = least_s / used.high / (1 - bubble)
    low = max(best_s, transfers_s or 0.0)
    high = max(least_s / used.low, best_s + update_s + (transfers_s or 0.0))
    return StepTime(Range(low, high), transfers_s, update_s, bubble, number, used.low, used.high)


def _update_bytes(gradient_bytes: int, blocks: Blocks, update: Update, parallel: Parallel) -> float:
    """Return the bytes that the update of one device moves: all but gradients are read and written."""
    weights = blocks.bytes + blocks.rest_bytes
    moved = gradient_bytes + 2 * (weights + update.state + update.master_weights)
    return moved * share_of_weights(blocks, parallel)
