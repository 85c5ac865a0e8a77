"""A plug-in with workloads that go wrong, each in its own way, and one that does not."""

from __future__ import annotations

import ctypes
import time
from functools import partial

import torch

from bench.workloads import WORKLOADS
from bench.workloads.classification import accuracy_and_recall
from bench.workloads.workload import Data, Workload


class Segfaults(torch.nn.Linear):
    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        ctypes.string_at(0)
        return inputs


class Hangs(torch.nn.Linear):
    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        while True:
            time.sleep(1)


class Allocates(torch.nn.Linear):
    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        taken = []
        while True:
            taken.append(torch.ones(2**24))


class Diverges(torch.nn.Linear):
    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return super().forward(inputs) * float("inf")


def data() -> Data:
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(64, 4, generator=generator)
    targets = (inputs[:, 0] > 0).long()
    return Data(inputs, targets, inputs, targets)


def same(inputs: torch.Tensor) -> torch.Tensor:
    return inputs


def make(layer: type[torch.nn.Linear]) -> Workload:
    return Workload(
        data=data,
        transform=same,
        model=partial(layer, 4, 2),
        loss=torch.nn.functional.cross_entropy,
        quality=accuracy_and_recall,
    )


SEGFAULTS, HANGS, ALLOCATES, DIVERGES = map(make, (Segfaults, Hangs, Allocates, Diverges))
BEHAVES = make(torch.nn.Linear)

for name in ("segfaults", "hangs", "allocates", "diverges", "behaves"):
    WORKLOADS.add(
        name,
        f"{__file__}:{name.upper()}",
        about="one that " + name,
        target=0.9,
        batch_size=8,
        train_steps=100,
        recover_steps=4,
    )
