"""Measures one rank's memory in a sharded training step, in a process of its own; nothing is sent.

`python -m tests.support.sharded_memory OUT` writes bytes at the peak, as PyTorch's tracker of FSDP sees them,
and as they are projected. The ranks are pretended: PyTorch's `fake` process group.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed._tools.fsdp2_mem_tracker import FSDPMemTracker
from torch.testing._internal.distributed.fake_pg import FakeStore

from bench.projection.model import ProjectedModel
from bench.projection.optimizer import update_of
from bench.projection.parallel import Batches, Parallel, device_memory
from bench.projection.subject import Subject
from techniques.parallel.ranks import Ranks
from techniques.parallel.spreading import fully_sharded

RANKS, BATCH, LENGTH, WORDS, WIDTH, DEPTH = 4, 2, 8, 4000, 128, 6


class Decoder(nn.Module):
    """A table, blocks, and a head that is as large as all blocks together."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(WORDS, WIDTH)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Linear(WIDTH, 4 * WIDTH), nn.GELU(), nn.Linear(4 * WIDTH, WIDTH))
            for _ in range(DEPTH)
        )
        self.head = nn.Linear(WIDTH, WORDS, bias=False)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        hidden = self.table(tokens)
        for block in self.blocks:
            hidden = hidden + block(hidden)
        scores: torch.Tensor = self.head(hidden)
        return scores


def texts(samples: int) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.zeros(samples, LENGTH, dtype=torch.long), torch.zeros(samples, LENGTH, dtype=torch.long)


def loss_of(scores: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return nn.functional.cross_entropy(scores.flatten(0, 1), targets.flatten())


def tracked() -> int:
    """Return the peak of a step's tensors on one rank."""
    dist.init_process_group("fake", store=FakeStore(), rank=0, world_size=RANKS)
    torch.manual_seed(0)
    model = fully_sharded(Decoder(), Ranks(0, RANKS, "fake"), None)
    optimizer = torch.optim.AdamW(model.parameters(), foreach=False)
    inputs, targets = texts(BATCH)
    for _ in range(2):  # the state is there in the second
        tracker = FSDPMemTracker(model, optimizer)
        tracker.track_inputs((inputs, targets))
        with tracker:
            optimizer.zero_grad()
            loss_of(model(inputs), targets).backward()
            optimizer.step()
    peak = tracker.get_tracker_snapshot("peak")
    return int(max(own["Total"] for own in peak.values()))


def projected() -> int:
    """Return what is projected of it."""
    subject = Subject(
        title="decoder",
        build=Decoder,
        batch=texts,
        forward=lambda model, tokens: model(tokens),
        loss=lambda model, tokens, targets: loss_of(model(tokens), targets),  # type: ignore[arg-type]
    )
    model = ProjectedModel(subject, "fp32", on_gpu=False)
    footprint = model.training(checkpointing=False)
    update = update_of("adamw", model.model, mixed=False, all_at_once=False)
    found = device_memory(
        footprint.peak(BATCH), model.blocks(), update, Parallel(fsdp=RANKS), Batches(BATCH, 1)
    )
    return found.total


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(json.dumps({"tracked": tracked(), "projected": projected()}))
