"""What two ranks of the CPU find when they train as one device does: `python -m tests.support.two_ranks OUT`.

Started by PyTorch's elastic agent, once for all cases; rank 0 writes the differences as JSON.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.functional import cross_entropy

from bench.workloads.vision_models import VisionTransformer
from techniques.backends.training import AS_IT_COMES, TorchTrainingStep, TrainingOptions
from techniques.optimizers import OPTIMIZERS
from techniques.parallel import PARALLELS, TensorPlan
from techniques.parallel.ranks import Ranks
from techniques.parallel.step import Spread
from techniques.regime import AVERAGES, CLIPS, SCHEDULES, Regime
from techniques.registry import CannotApply

CPU = torch.device("cpu")
STEPS = 8
PLAN = TensorPlan(
    ("blocks.*.query", "blocks.*.key", "blocks.*.value", "blocks.*.feed_forward.0"),
    ("blocks.*.output", "blocks.*.feed_forward.2"),
    ("blocks.*.heads",),
)


def mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(192, 32), nn.Tanh(), nn.Linear(32, 4))


def normalized() -> nn.Module:
    return nn.Sequential(
        nn.Unflatten(1, (3, 8, 8)),
        nn.Conv2d(3, 8, 3),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(288, 4),
    )


def unused() -> nn.Module:
    model = mlp()
    model.register_parameter("unused", nn.Parameter(torch.ones(3)))
    return model


def transformer() -> nn.Module:
    return nn.Sequential(nn.Unflatten(1, (3, 8, 8)), VisionTransformer(8, 4, 2, 2, classes=4))


def of_padding(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return a mean over the targets that count: most of them in the first rank's share."""
    counted = targets.clone()
    counted[targets == 3] = -100
    return cross_entropy(outputs, counted)


def in_pairs(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return a loss that compares samples of a batch."""
    return cross_entropy(outputs - outputs.mean(0), targets).sqrt()


@dataclass(frozen=True)
class Case:
    """A training in two ways. `refused` is a part of the reason why it cannot be."""

    parallel: str
    model: Callable[[], nn.Module]
    optimizer: str = "adam"
    loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor] = cross_entropy
    schedule: str = "constant"
    clip: str = "none"
    average: str = "none"
    precision: str = "fp32"
    options: TrainingOptions = AS_IT_COMES
    plan: TensorPlan | None = None
    batch: int = 16
    refused: str = ""


IN_BLOCKS = TensorPlan(
    tuple(f"1.{name}" for name in PLAN.columns),
    tuple(f"1.{name}" for name in PLAN.rows),
    tuple(f"1.{name}" for name in PLAN.counts),
)
WITHOUT_HEADS = TensorPlan(IN_BLOCKS.columns, IN_BLOCKS.rows)
UNKNOWN = TensorPlan(("1.blocks.*.nothing",), ())
CASES = {
    "ddp mlp": Case("ddp", mlp),
    "ddp transformer": Case("ddp", transformer, "adamw", schedule="cosine", clip="norm:0.5"),
    "ddp batch norm": Case("ddp", normalized, "momentum"),
    "ddp padding": Case("ddp", mlp, loss=of_padding),
    "ddp average": Case("ddp", mlp, average="ema:0.5"),
    "ddp checkpoint": Case("ddp", transformer, options=TrainingOptions(checkpoint=True)),
    "ddp unused": Case("ddp", unused),
    "fsdp mlp": Case("fsdp", mlp),
    "fsdp transformer": Case("fsdp", transformer, "adamw", schedule="cosine", clip="norm:0.5"),
    "fsdp batch norm": Case("fsdp", normalized, "momentum"),
    "fsdp padding": Case("fsdp", mlp, loss=of_padding),
    "tp transformer": Case("tp", transformer, "adamw", schedule="cosine", plan=IN_BLOCKS),
    "tp no plan": Case("tp", mlp, refused="requires a workload that declares how"),
    "tp wrong plan": Case("tp", transformer, plan=WITHOUT_HEADS, refused="changes its model's outputs"),
    "tp unknown layer": Case("tp", transformer, plan=UNKNOWN, refused="names 1.blocks.*.nothing, which the"),
    "tp clip": Case("tp", transformer, clip="norm:1", plan=IN_BLOCKS, refused="clip=norm:1 is for"),
    "ddp odd batch": Case("ddp", mlp, batch=15, refused="a batch of 15 cannot be shared equally"),
    "ddp pairs": Case("ddp", mlp, loss=in_pairs, refused="devices=2: the loss of a batch is not a weighted"),
    "ddp lbfgs": Case("ddp", mlp, "by-closure", refused="LBFGS evaluates the loss itself"),
    "fsdp fp16": Case("fsdp", mlp, precision="fp16", refused="fp16's scaled gradients"),
    "fsdp average": Case("fsdp", mlp, average="ema:0.5", refused="average=ema:0.5 is for whole weights"),
    "ddp accumulate": Case("ddp", mlp, options=TrainingOptions(accumulate=2), refused="accumulate=2"),
}


def compare(case: Case, ranks: Ranks) -> dict[str, object]:
    """Train in ranks and alone from the same weights; return the largest differences, or why it cannot be."""
    generator = torch.Generator().manual_seed(1)
    inputs = torch.randn(case.batch, 192, generator=generator)
    targets = torch.randint(0, 4, (case.batch,), generator=generator)
    targets[: case.batch // 4] = 3
    torch.manual_seed(0)
    evaluated = case.model()
    reference = deepcopy(evaluated)
    regime = Regime(
        SCHEDULES.parse(case.schedule), CLIPS.parse(case.clip), AVERAGES.parse(case.average), STEPS
    )
    shared = (case.loss, OPTIMIZERS.parse(case.optimizer), CPU, case.precision, case.options, regime)
    spread = Spread(PARALLELS.parse(case.parallel), ranks, case.plan, evaluated)
    try:
        step = spread.step(deepcopy(evaluated), *shared)
        own = step.share(case.batch)
        step.warm_up(inputs[own].clone(), targets, [targets])
    except CannotApply as error:
        return {"refused": str(error)}
    alone = TorchTrainingStep.prepare(reference, *shared)
    reference.train()
    losses = [
        abs(ranks.mean([float(step(inputs[own], targets))])[0] - float(alone(inputs, targets)))
        for _ in range(STEPS)
    ]
    step.write_back()
    step.gather()
    alone.write_back()
    pairs = zip(evaluated.state_dict().values(), reference.state_dict().values(), strict=True)
    return {"losses": losses, "weights": max(float((one - other).abs().max()) for one, other in pairs)}


def main(out: Path) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    ranks = Ranks.here(CPU)
    OPTIMIZERS.add("by-closure", "torch.optim:LBFGS", about="Evaluates the loss itself")
    found = {name: compare(case, ranks) for name, case in CASES.items()}
    if ranks.first:
        out.write_text(json.dumps(found))
    dist.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
