"""How training is split over devices: what each holds, and the bytes it sends.

`dp` copies the model (DistributedDataParallel), `fsdp` shards weights, gradients and optimizer state and
gathers one block at a time (Rajbhandari et al. 2020, ZeRO stage 3), `tp` splits each block's layers, and its
activations along the sequence (Korthikanti et al. 2022), `pp` splits the blocks into stages with one batch
forward and one backward in turn (Narayanan et al. 2021).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from bench.errors import BenchError
from bench.projection.devices import Device
from bench.projection.footprint import Peak
from techniques.registry import nearest

_MODES = ("dp", "fsdp", "tp", "pp")


@dataclass(frozen=True)
class Parallel:
    """Number of devices along each way of splitting; their product is that of all devices."""

    dp: int = 1
    fsdp: int = 1
    tp: int = 1
    pp: int = 1

    @property
    def devices(self) -> int:
        """Return how many devices take part."""
        return self.dp * self.fsdp * self.tp * self.pp

    @property
    def replicas(self) -> int:
        """Return how many parts the batch is split into."""
        return self.dp * self.fsdp

    def over(self, devices: int) -> Parallel | None:
        """Return the same split over more or fewer devices, by more data parallelism; None if uneven.

        What is sharded stays sharded: `fsdp` grows, where it is used or nothing is.
        """
        others = self.tp * self.pp
        if devices % others:
            return None
        replicas = devices // others
        if self.dp > 1 and self.fsdp > 1:
            return replace(self, dp=replicas // self.fsdp) if replicas % self.fsdp == 0 else None
        return replace(self, dp=replicas, fsdp=1) if self.dp > 1 else replace(self, dp=1, fsdp=replicas)

    def __str__(self) -> str:
        return ",".join(f"{mode}={n}" for mode in _MODES if (n := getattr(self, mode)) > 1) or "none"


def parse_parallel(text: str) -> Parallel:
    """Read `fsdp=8,tp=2`. Raises BenchError for an unknown way or a number below 1."""
    found: dict[str, int] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        mode, _, number = part.partition("=")
        if mode not in _MODES:
            raise BenchError(f"--parallel: no {mode!r}{nearest(mode, _MODES)}; known: {', '.join(_MODES)}")
        if mode in found or not (number.isascii() and number.isdigit() and 1 <= int(number) <= 10**6):
            raise BenchError(f"--parallel: {mode} must be given once, as {mode}=8, got {text!r}")
        found[mode] = int(number)
    return Parallel(**found)


@dataclass(frozen=True)
class Blocks:
    """The repeated blocks of a model: how many, bytes of the weights of all and of the largest.

    `rest_bytes` are the weights outside of them; `output_bytes` what a block hands on for each sample.
    """

    count: int
    bytes: int
    largest_bytes: int
    rest_bytes: int
    output_bytes: int

    def share(self, parallel: Parallel) -> float:
        """Return the share of the blocks, and of their operations, that a pipeline's fullest stage has."""
        return -(-self.count // parallel.pp) / self.count if self.count else 1.0

    def refuse(self, parallel: Parallel, heads: int | None) -> None:
        """Raise BenchError for more stages than blocks, and for devices that do not divide `heads`.

        Those are of the attention; None is unknown.
        """
        if parallel.pp > max(1, self.count):
            raise BenchError(
                f"--parallel pp={parallel.pp} must be at most the {self.count} repeated blocks of the model"
            )
        if heads and heads % parallel.tp:
            raise BenchError(
                f"--parallel tp={parallel.tp} must divide the {heads} attention heads of the model"
            )


@dataclass(frozen=True)
class Batches:
    """The samples of a step on one replica: `micro` at once, `count` times one after another."""

    micro: int
    count: int


def split_batch(batch: int, micro: int | None, parallel: Parallel) -> Batches:
    """Return the batches of each replica. Raises BenchError where the samples do not divide evenly.

    Without `micro` a replica takes all of its samples at once, stages of a pipeline one at a time.
    """
    own, rest = divmod(batch, parallel.replicas)
    if rest or not own:
        raise BenchError(
            f"--batch {batch} must be a multiple of the {parallel.replicas} replicas of --parallel {parallel}"
        )
    micro = micro or (own if parallel.pp == 1 else 1)
    if own % micro:
        raise BenchError(
            f"--micro-batch {micro} must divide the {own} samples that each of {parallel.replicas} replicas "
            "has"
        )
    return Batches(micro, own // micro)


@dataclass(frozen=True)
class DeviceMemory:
    """Bytes on one device at the peak of training, by what they are."""

    weights: int
    master_weights: int
    gradients: int
    optimizer_state: int
    activations: int
    temporaries: int
    communication: int
    fragmentation: int

    @property
    def total(self) -> int:
        """Return all bytes that a device must hold."""
        return sum(vars(self).values())


@dataclass(frozen=True)
class Update:
    """Bytes that an optimizer needs: for its state, for fp32 copies of weights, and while it updates."""

    state: int
    master_weights: int
    temporaries: int


def device_memory(
    peak: Peak, blocks: Blocks, update: Update, parallel: Parallel, batches: Batches
) -> DeviceMemory:
    """Return the peak of one device, of the stage that holds most.

    `peak` and `update` are those of the whole model on one device, at the micro-batch. The weights outside of
    the blocks count in full for each stage: the first has the embedding, the last the head.
    """
    weights_share = share_of_weights(blocks, parallel)
    all_alive = batches.count > 1 or parallel.fsdp > 1 or parallel.pp > 1
    gradients = (peak.all_gradients if all_alive else peak.gradients) * weights_share
    # A stage keeps as many batches as there are stages, each of a part of the blocks.
    in_flight = min(parallel.pp, batches.count) * blocks.share(parallel)
    buckets = peak.all_gradients * weights_share if parallel.dp > 1 else 0.0
    by_step = DeviceMemory(
        weights=_whole(peak.weights * weights_share),
        master_weights=_whole(update.master_weights * weights_share),
        gradients=_whole(gradients),
        optimizer_state=_whole(update.state * weights_share),
        activations=_whole(peak.activations / parallel.tp * in_flight),
        temporaries=_whole(peak.temporaries / parallel.tp),
        communication=_whole(buckets + _gathered(blocks, parallel)),
        fragmentation=_whole(peak.fragmentation / parallel.tp),
    )
    by_update = replace(
        by_step,
        gradients=_whole(peak.all_gradients * weights_share),
        activations=0,
        temporaries=_whole(update.temporaries * weights_share),
        communication=_whole(buckets),
    )
    return max(by_step, by_update, key=lambda memory: memory.total)


def share_of_weights(blocks: Blocks, parallel: Parallel) -> float:
    """Return the share of the weights that the fullest device holds."""
    whole = blocks.bytes + blocks.rest_bytes
    if not whole:
        return 1.0
    own = blocks.bytes * blocks.share(parallel) + blocks.rest_bytes
    return own / whole / parallel.tp / parallel.fsdp


def _gathered(blocks: Blocks, parallel: Parallel) -> float:
    """Return the bytes that `fsdp` gathers: two blocks, the gradients of one, and all that is beside them.

    The weights outside of the blocks are the root's of PyTorch's `fully_shard`. It keeps them gathered from
    the forward pass to the end of the backward one, and their gradients whole until the last one has come:
    of an untied head and embedding that is at most, as the embedding's comes last.
    """
    if parallel.fsdp == 1:
        return 0.0
    return (3 * blocks.largest_bytes + 2 * blocks.rest_bytes) / parallel.tp


def _whole(number: float) -> int:
    return round(number)


def communication_s(
    device: Device, blocks: Blocks, gradient_bytes: int, parallel: Parallel, batches: Batches, again: bool
) -> float | None:
    """Return the seconds that a step's transfers take on the slowest way of each; None if one is unknown.

    By rings: an all-reduce moves 2 (n - 1) / n of its bytes, a gather or a scatter half of that. `again` says
    that blocks run once more in the backward pass, for which `tp` exchanges once more.
    """
    share = share_of_weights(blocks, replace(parallel, fsdp=1))
    weights, own_gradients = share * (blocks.bytes + blocks.rest_bytes), share * gradient_bytes
    own_blocks = blocks.count * blocks.share(parallel)
    activations = blocks.output_bytes * batches.micro * batches.count
    moved = {
        "tp": (3 if again else 2) * 2 * 2 * activations * own_blocks,
        "pp": 2 * activations / parallel.tp,
        # What is beside the blocks stays gathered for the backward pass.
        "fsdp": batches.count * (2 * weights - blocks.rest_bytes / parallel.tp + own_gradients),
        "dp": 2 * own_gradients / parallel.fsdp,
    }
    total, span = 0.0, 1
    for mode, sent in moved.items():  # in this order they go over ever wider links
        size = getattr(parallel, mode)
        span *= size
        if size == 1:
            continue
        rate = device.bytes_between(span)
        if rate is None:
            return None
        total += sent * (size - 1) / size / rate
    return total
