"""What measuring costs: our timed loop against a bare one, interleaved in one process of its own.

`python -m bench.selftest.loop THREADS` prints a line for each model, inference and training.
"""

from __future__ import annotations

import itertools
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import nn

from bench.analysis.statistics import Interval, launch_interval, paired_ratio_interval
from bench.instruments import clock
from bench.workloads.image_classification import SimpleCNN

Call = Callable[[], object]

ROUNDS = 40
ROUND_S = 0.4
"""Seconds that each loop of a round takes, about: as long as a launch samples.

In a much shorter one the first call after the garbage collection shows, that precedes each pass.
"""


@dataclass(frozen=True)
class Overhead:
    """Time of a call in our loop over that in a bare one: the median over rounds, with a 95 % interval."""

    what: str
    call_s: float
    ratio: Interval


def measure_overheads(rounds: int = ROUNDS, round_s: float = ROUND_S) -> Iterator[Overhead]:
    """Yield the overhead on three models, inference and training; every second round in reversed order."""
    for name, make in _MODELS.items():
        model, batches = make()
        for mode, call in (
            ("inference", _inference(model, batches)),
            ("training", _training(model, batches)),
        ):
            yield _overhead(f"{name}, {mode}", call, rounds, round_s)


def _overhead(what: str, call: Call, rounds: int, round_s: float) -> Overhead:
    warmup = clock.warm_up(call)
    block = warmup.calls_per_sample
    samples = max(6, round(round_s / warmup.typical_s / block))
    ours_s, bare_s = [], []
    for number in range(rounds):
        if number % 2:
            ours = _ours(call, samples, block)
            bare = _bare(call, samples * block)
        else:
            bare = _bare(call, samples * block)
            ours = _ours(call, samples, block)
        ours_s.append(ours)
        bare_s.append(bare)
    return Overhead(what, launch_interval(bare_s).value, paired_ratio_interval(ours_s, bare_s))


def _ours(call: Call, samples: int, block: int) -> float:
    taken = clock.sample(call, seconds=0.0, least=samples, most=samples, calls_per_sample=block)
    return sum(taken.durations_s) / len(taken.durations_s)


def _bare(call: Call, calls: int) -> float:
    began = time.perf_counter()
    for _ in range(calls):
        call()
    return (time.perf_counter() - began) / calls


def _inference(model: nn.Module, batches: list[torch.Tensor]) -> Call:
    turn = itertools.cycle(batches)
    model.eval()

    def call() -> object:
        with torch.inference_mode():
            return model(next(turn))

    return call


def _training(model: nn.Module, batches: list[torch.Tensor]) -> Call:
    turn = itertools.cycle(batches)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4)

    def call() -> object:
        model.train()
        optimizer.zero_grad(set_to_none=True)
        loss: torch.Tensor = model(next(turn)).square().mean()
        loss.backward()
        optimizer.step()
        return loss

    return call


def _perceptron() -> tuple[nn.Module, list[torch.Tensor]]:
    layers = (nn.Linear(256, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 64))
    return nn.Sequential(*layers), [torch.randn(64, 256) for _ in range(4)]


def _convolutional() -> tuple[nn.Module, list[torch.Tensor]]:
    return SimpleCNN(size=28), [torch.randn(128, 3, 28, 28) for _ in range(4)]


def _encoder() -> tuple[nn.Module, list[torch.Tensor]]:
    layer = nn.TransformerEncoderLayer(384, 6, 1536, dropout=0.0, batch_first=True)
    encoder = nn.TransformerEncoder(layer, 6, enable_nested_tensor=False)
    return encoder, [torch.randn(1, 64, 384) for _ in range(4)]


_MODELS: dict[str, Callable[[], tuple[nn.Module, list[torch.Tensor]]]] = {
    "perceptron": _perceptron,
    "SimpleCNN, batch 128": _convolutional,
    "6-layer encoder": _encoder,
}


def overhead_line(found: Overhead) -> str:
    """Return a line for a person."""
    low, high = found.ratio.low, found.ratio.high
    interval = f" ({low:.4f} to {high:.4f})" if low is not None and high is not None else ""
    return f"{found.what:32} {1e3 * found.call_s:8.3f} ms   ours / bare {found.ratio.value:.4f}{interval}"


if __name__ == "__main__":
    torch.set_num_threads(int(sys.argv[1]))
    for measured in measure_overheads():
        print(overhead_line(measured), flush=True)
