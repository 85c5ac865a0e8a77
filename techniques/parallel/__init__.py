"""The table of ways in which several devices train one model."""

from __future__ import annotations

from dataclasses import dataclass

from techniques.backends import BackendRow
from techniques.registry import Registry, Row, Technique

__all__ = ["DATA_PARALLEL", "ONE_DEVICE", "PARALLELS", "ParallelRow", "TensorPlan", "cannot_spread"]

ONE_DEVICE = "none"
"""What the axis is where one device trains."""

DATA_PARALLEL = "ddp"
"""What the axis is by default where several do."""


@dataclass(frozen=True)
class ParallelRow(Row):
    """A way to train one model on several devices, of which each has a process, its rank.

    `implementation` is called as `spread(model, ranks, plan)` in every rank; it changes the model and returns
    what is called in its place. `splits_batches`: each rank takes its share of every batch, and gradients are
    averaged; else each takes the whole batch. `shards_weights`: no rank has all weights. `planned`: the
    workload must say how its model is split, by a `TensorPlan`.
    """

    splits_batches: bool = True
    shards_weights: bool = False
    planned: bool = False


@dataclass(frozen=True)
class TensorPlan:
    """How the layers of a model are split over devices (Shoeybi et al. 2019, "Megatron-LM").

    Of linear layers named in `columns` each rank computes a part of the outputs, of those in `rows` it takes
    a part of the inputs, and the results are added up. A name is that of a module, with `*` for the numbers
    of a list. `counts` are attributes that hold a number that is divided by the ranks, as
    `blocks.*.heads`.
    """

    columns: tuple[str, ...]
    rows: tuple[str, ...]
    counts: tuple[str, ...] = ()


PARALLELS: Registry[ParallelRow] = Registry("parallel", ParallelRow, entry_points="bench.parallels")
"""Ways to train on several devices."""

PARALLELS.add(
    ONE_DEVICE,
    "techniques.parallel.spreading:none",
    about="One device trains",
    splits_batches=False,
)
PARALLELS.add(
    DATA_PARALLEL,
    "techniques.parallel.spreading:data_parallel",
    about="Each device has the whole model and a share of the batch (PyTorch's DistributedDataParallel; "
    "Li et al. 2020)",
)
PARALLELS.add(
    "fsdp",
    "techniques.parallel.spreading:fully_sharded",
    about="Each device keeps a share of weights, gradients and optimizer state, and takes a share of the "
    "batch (PyTorch's fully_shard; Zhao et al. 2023)",
    shards_weights=True,
)
PARALLELS.add(
    "tp",
    "techniques.parallel.spreading:tensor_parallel",
    about="Each device computes a part of the layers that the workload's plan names, on the whole batch "
    "(PyTorch's parallelize_module; Shoeybi et al. 2019)",
    splits_batches=False,
    shards_weights=True,
    planned=True,
)


def cannot_spread(backend: BackendRow, parallel: Technique[ParallelRow], devices: int) -> str | None:
    """Say why so many of a backend's devices cannot train one model in that way, or None where they can."""
    if devices == 1:
        return None
    if parallel.name == ONE_DEVICE:
        return f'devices={devices} requires parallel = "{DATA_PARALLEL}" or another way, got {ONE_DEVICE!r}'
    if parallel.name not in backend.parallels:
        ways = f", only by {', '.join(backend.parallels)}" if backend.parallels else ""
        return f"{backend.name} does not train on several devices by {parallel.name}{ways}"
    return None
