"""Projections against what is measured at sizes held out: `python -m tests.performance.projection_scores`.

A decoder, an encoder and a CNN, in training and inference, with and without checkpointing, at twice and four
times the larger of two sizes. Memory and FLOPs are projected from shapes alone: nothing is fitted. Of time, a
constant and a rate are fitted to the two sizes. `memory` leaves time out, which takes a quiet machine.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from statistics import median
from typing import Any

import torch

from bench.formatting import print_table, say, three_digits
from bench.instruments import clock
from bench.instruments.flops import count, count_step
from bench.instruments.tensors import peak_tensor_bytes, step_memory
from bench.projection.model import ProjectedModel
from bench.projection.optimizer import update_of
from bench.projection.parallel import Batches, Parallel, device_memory
from tests.support.projected import FAMILIES, Family, Size

OPTIMIZER = "adamw"
BATCHES = {"decoder": 8, "encoder": 8, "CNN": 16}
FITTED = (Size(2, 192), Size(4, 192))
HELD_OUT = (Size(8, 192), Size(8, 288))
CNN_FITTED = (Size(2, 48), Size(4, 48))
CNN_HELD_OUT = (Size(8, 48), Size(8, 72))
"""Twice the blocks of the larger fitted size, then about twice the weights of that."""

BOUNDS = {"memory median": 0.05, "memory worst": 0.10, "FLOPs worst": 0.0, "time median": 0.15}


@dataclass(frozen=True)
class Found:
    """One model and mode: bytes and FLOPs, projected and measured; seconds only where they were measured."""

    case: str
    size: Size
    projected_bytes: int
    measured_bytes: int
    projected_flops: int
    measured_flops: int
    seconds: float | None = None


def main(with_time: bool) -> bool:
    """Print a row for each case, and whether the bounds hold."""
    rows, errors = [], {"memory": list[float](), "FLOPs": list[float](), "time": list[float]()}
    for own, fitted in cases(with_time):
        memory = own.projected_bytes / own.measured_bytes - 1
        flops = own.projected_flops / own.measured_flops - 1
        errors["memory"].append(abs(memory))
        errors["FLOPs"].append(abs(flops))
        time = ""
        if own.seconds is not None:
            projected = fit(fitted)(own.projected_flops)
            error = projected / own.seconds - 1
            errors["time"].append(abs(error))
            time = f"{1e3 * projected:.1f} / {1e3 * own.seconds:.1f} ({100 * error:+.1f} %)"
        sizes = f"{own.projected_bytes / 2**20:.1f} / {own.measured_bytes / 2**20:.1f}"
        rows.append(
            (own.case, f"{own.size.depth} x {own.size.width}", f"{sizes} ({100 * memory:+.2f} %)",
             f"{own.projected_flops:,} ({100 * flops:+.2g} %)", time)
        )  # fmt: skip
    headings = ("case", "blocks x channels", "MiB, projected / measured", "FLOPs", "ms, projected / measured")
    print_table("Held-out sizes", rows, headings)
    return judge(errors)


def judge(errors: dict[str, list[float]]) -> bool:
    """Print the median and the worst error of each, and say whether they keep the bounds."""
    kept = True
    for name, bound in BOUNDS.items():
        what, kind = name.split()
        if errors[what]:
            value = max(errors[what]) if kind == "worst" else median(errors[what])
            kept &= value <= bound
            say(f"{name}: {three_digits(100 * value)} %, at most {100 * bound:g} %: {value <= bound}")
    return kept


def cases(with_time: bool) -> Iterator[tuple[Found, list[Found]]]:
    """Yield each held-out model and mode with those that its time is fitted to."""
    for family in FAMILIES.values():
        own = (CNN_FITTED, CNN_HELD_OUT) if family.name == "CNN" else (FITTED, HELD_OUT)
        for make in (training, checkpointed_training, inference):
            fitted = [make(family, size, with_time) for size in own[0]] if with_time else []
            for size in own[1]:
                yield make(family, size, with_time), fitted


def training(family: Family, size: Size, with_time: bool = False, again: bool = False) -> Found:
    """Project and measure a training step."""
    batch = BATCHES[family.name]
    projected = ProjectedModel(family.subject(size), "fp32", on_gpu=False)
    footprint = projected.training(checkpointing=again)
    update = update_of(OPTIMIZER, projected.model, mixed=False, all_at_once=False)
    peak = footprint.peak(batch)
    memory = device_memory(peak, projected.blocks(), update, Parallel(), Batches(batch, 1))
    torch.manual_seed(0)
    model = family.model(size).train()
    optimizer = torch.optim.AdamW(model.parameters(), foreach=False)
    step, inputs = family.step(model, batch, optimizer, again)
    measured = step_memory(step, model, optimizer, inputs)
    assert measured is not None
    counted = count_step(model, family.loss, *inputs, optimizer)
    forward, backward, _ = footprint.flops(batch)
    return Found(
        f"{family.name}, training{', checkpointing' if again else ''}",
        size,
        memory.total,
        measured.peak,
        forward + backward,
        counted.forward.total + counted.backward.total,
        seconds(step) if with_time else None,
    )


def checkpointed_training(family: Family, size: Size, with_time: bool = False) -> Found:
    """Project and measure a training step with checkpointing."""
    return training(family, size, with_time, again=True)


def inference(family: Family, size: Size, with_time: bool = False) -> Found:
    """Project and measure an inference."""
    batch = BATCHES[family.name]
    footprint = ProjectedModel(family.subject(size), "fp32", on_gpu=False).forward()
    torch.manual_seed(0)
    model = family.model(size).eval()
    inputs, _ = family.batch(batch)

    @torch.no_grad()
    def call() -> Any:
        return model(inputs)

    measured = peak_tensor_bytes(call, [*model.parameters(), *model.buffers(), inputs])
    assert measured is not None
    return Found(
        f"{family.name}, inference",
        size,
        footprint.peak(batch).total,
        measured,
        footprint.flops(batch)[0],
        count(call).total,
        seconds(call) if with_time else None,
    )


def seconds(call: Callable[[], object]) -> float:
    """Return the median time of a call."""
    clock.warm_up(call, None, most_s=2.0)
    return median(clock.sample(call, None, seconds=4.0, least=10).durations_s)


def fit(known: list[Found]) -> Callable[[int], float]:
    """Return time by FLOPs, from two sizes: a constant, 0 or more, and a rate."""
    small, large = known
    assert small.seconds is not None and large.seconds is not None
    rate = (large.seconds - small.seconds) / (large.projected_flops - small.projected_flops)
    constant = large.seconds - rate * large.projected_flops
    if rate <= 0 or constant < 0:
        rate, constant = large.seconds / large.projected_flops, 0.0
    return lambda flops: constant + rate * flops


if __name__ == "__main__":
    sys.exit(0 if main(with_time="memory" not in sys.argv[1:]) else 1)
