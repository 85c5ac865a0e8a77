"""What zeros bring in OpenVINO's int8 products: `python -m tests.performance.sparse_weights`.

Stacks of linear layers are served three ways: in fp32, in int8-static, and in int8-static with weights that
are kept without their zeros. Calls of all three take turns in one process, in blocks of 5 ms; the ratio of
blocks has a signed-rank interval. One process is one layout of memory: launches differ by more than the
interval says. Two minutes on a CPU with AMX, which does nothing else; without AMX it says that there is
nothing to measure.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import nn

from bench.analysis.statistics import Interval, paired_ratio_interval
from bench.formatting import format_value, print_table, three_digits
from techniques.backends.cpu_features import cpu_features
from techniques.registry import CannotApply
from tests.support.served_pairs import Loaded, calls_of, load

SIDES, BATCHES, SHARES = (1024, 4096), (1, 16, 64), (0.5, 0.9)
LAYERS, PAIRS = 2, 15
DENSE, SPARSE = "openvino", "openvino:sparse_weights=0.4"


def stack(side: int, share: float) -> Callable[[], nn.Module]:
    """Return what makes square linear layers of which this share of weights is zero, the smallest ones."""

    def make() -> nn.Module:
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            torch.manual_seed(0)
            layers = [part for _ in range(LAYERS) for part in (nn.Linear(side, side), nn.ReLU())]
            for layer in layers[::2]:
                weight = layer.weight
                weight[weight.abs() < weight.abs().flatten().kthvalue(int(share * weight.numel())).values] = 0
        return nn.Sequential(*layers).eval()

    return make


def ratios(loaded: Sequence[Loaded], pairs: int = PAIRS) -> tuple[list[float], list[Interval]]:
    """Time calls in turns; return seconds of a call, and the first one's speed over each of the others."""
    counts = [calls_of(each) for each in loaded]
    blocks: list[list[float]] = [[] for _ in loaded]
    for number in range(pairs):
        for place in (range(len(loaded)), reversed(range(len(loaded))))[number % 2]:
            started = time.perf_counter()
            for _ in range(counts[place]):
                loaded[place].call()
            blocks[place].append((time.perf_counter() - started) / counts[place])
    medians = [sorted(own)[len(own) // 2] for own in blocks]
    return medians, [paired_ratio_interval(own, blocks[0]) for own in blocks[1:]]


def measured(side: int, batch_size: int, share: float, threads: int) -> tuple[str, ...]:
    """Return a row: the case, seconds of a call each way, what sparse weights bring, and the kernels."""
    make, batch = stack(side, share), torch.randn(batch_size, side)
    with tempfile.TemporaryDirectory() as folder:
        own = [
            load(backend, make, batch, Path(folder, str(number)), format_, threads=threads)
            for number, (backend, format_) in enumerate(
                [(SPARSE, "int8-static"), (DENSE, "int8-static"), (DENSE, None)]
            )
        ]
        seconds, found = ratios(own)
        ran = [name for name in own[0].program.kernels(own[0].prepared) if name.startswith("FullyConnected")]
    return (
        f"{side} × {side}",
        str(batch_size),
        f"{share:.0%}",
        *(format_value("latency_s", value) for value in reversed(seconds)),
        *(f"{three_digits(e.value)}× ({three_digits(e.low)} to {three_digits(e.high)})" for e in found),
        ", ".join(ran),
    )


def main() -> None:
    """Print a row for each size of layer, batch and share of zeros."""
    features = cpu_features().cpu
    print(f"CPU: {', '.join(features)}; {torch.get_num_threads()} threads")
    rows = []
    try:
        for side in SIDES:
            for batch_size in BATCHES:
                for share in SHARES:
                    rows.append(measured(side, batch_size, share, torch.get_num_threads()))
                    print(" ".join(rows[-1]), file=sys.stderr)
    except CannotApply as reason:
        sys.exit(f"nothing to measure: {reason}")
    headings = (
        "layers",
        "batch",
        "zeros",
        "fp32",
        "int8",
        "int8 sparse",
        "over int8",
        "over fp32",
        "kernels",
    )
    print_table("OpenVINO, int8-static with sparse weights", rows, headings)


if __name__ == "__main__":
    main()
