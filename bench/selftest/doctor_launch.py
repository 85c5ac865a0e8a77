"""One of the equal launches of `bench doctor`, as JSON: `-m bench.selftest.doctor_launch THREADS`."""

from __future__ import annotations

import json
import sys
import time
from statistics import quantiles

import torch

from bench.instruments import clock
from bench.instruments.memory import PeakResident

SAMPLE_S = 0.4


def probe(threads: int) -> dict[str, float]:
    """Return seconds and bytes by metric, of a small convolutional net that serves and is trained."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    net = torch.nn.Sequential(
        torch.nn.Conv2d(3, 16, 3, padding=1),
        torch.nn.ReLU(),
        torch.nn.MaxPool2d(2),
        torch.nn.Flatten(),
        torch.nn.Linear(16 * 14 * 14, 10),
    )
    batch = torch.randn(64, 3, 28, 28)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01)

    def infer() -> object:
        with torch.inference_mode():
            return net(batch)

    def step() -> object:
        optimizer.zero_grad()
        net(batch).square().mean().backward()
        return optimizer.step()

    with PeakResident() as resident:
        began = time.perf_counter()
        infer()
        first_s = time.perf_counter() - began
        serving, training = _durations_s(infer), _durations_s(step)
    return {
        "inference": quantiles(serving)[1],
        "inference p90": quantiles(serving, n=10)[-1],
        "first inference": first_s,
        "training step": quantiles(training)[1],
        "peak resident memory": float(resident.peak_bytes or 0),
    }


def _durations_s(call: clock.Call) -> tuple[float, ...]:
    block = clock.warm_up(call).calls_per_sample
    return tuple(clock.sample(call, seconds=SAMPLE_S, calls_per_sample=block).durations_s)


if __name__ == "__main__":
    print(json.dumps(probe(int(sys.argv[1]))))
