"""The processes that train one model together: what each tells the others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.distributed as dist

CPU_BACKEND, CUDA_BACKEND = "gloo", "nccl"


@dataclass(frozen=True)
class Ranks:
    """The ranks of this process's group: its own number, from 0, and how many there are.

    `backend` is what carries the tensors of training: gloo between CPUs, NCCL between NVIDIA's GPUs.
    """

    rank: int
    size: int
    backend: str

    @classmethod
    def here(cls, device: torch.device) -> Ranks:
        """Return the ranks of the group that this process has joined; one that has joined none is alone."""
        backend = backend_of(device)
        if not (dist.is_available() and dist.is_initialized()):
            return cls(0, 1, backend)
        return cls(dist.get_rank(), dist.get_world_size(), backend)

    @property
    def first(self) -> bool:
        """Say whether this is rank 0, which evaluates and records."""
        return self.rank == 0

    def share(self, count: int) -> slice:
        """Return which of so many samples of a batch are this rank's."""
        each = count // self.size
        return slice(self.rank * each, (self.rank + 1) * each)

    def mean(self, values: Sequence[float]) -> list[float]:
        """Return the mean over all ranks of each value; every rank must call it with as many."""
        if self.size == 1:
            return list(values)
        found = torch.tensor(list(values), dtype=torch.float64)
        dist.all_reduce(found)
        return [value / self.size for value in found.tolist()]

    def gathered(self, value: float) -> list[float]:
        """Return the value of each rank, in their order; every rank must call it."""
        if self.size == 1:
            return [value]
        own = torch.tensor([value], dtype=torch.float64)
        found = [torch.empty_like(own) for _ in range(self.size)]
        dist.all_gather(found, own)
        return [float(each) for each in found]

    def from_first(self, values: Sequence[float]) -> list[float]:
        """Return rank 0's values; every rank must call it with as many."""
        if self.size == 1:
            return list(values)
        found = torch.tensor(list(values), dtype=torch.float64)
        dist.broadcast(found, src=0)
        return [float(value) for value in found]

    def agree(self, number: int = 0) -> int:
        """Return rank 0's whole number once every rank has come to this call."""
        if self.size == 1:
            return number
        found = torch.tensor([number if self.first else 0], dtype=torch.int64)
        dist.all_reduce(found)
        return int(found)


def backend_of(device: torch.device) -> str:
    """Return what carries tensors between devices of a kind."""
    return CUDA_BACKEND if device.type == "cuda" else CPU_BACKEND
