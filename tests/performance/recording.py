"""Records launches of networks with known extra work on this machine; see `launch_pool`."""

from __future__ import annotations

import random
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path

from bench.regression.ab.sampling import MatrixSampler, Place
from tests.performance.launch_pool import (
    BEFORE,
    EXTRA,
    LAYERS,
    NETWORKS,
    RECORDED,
    Launch,
    append,
    read_launches,
)

_OWN = """
import torch
from bench.workloads.classification import accuracy_and_recall
from bench.workloads.workload import Data, Workload

def workload(layers) -> Workload:
    torch.manual_seed(0)
    inputs, targets = torch.randn(256, 256), torch.arange(256) % 4
    def model():
        parts = [part for _ in range(layers) for part in (torch.nn.Linear(256, 256), torch.nn.ReLU())]
        return torch.nn.Sequential(*parts, torch.nn.Linear(256, 4))
    return Workload(
        data=lambda: Data(inputs, targets, inputs, targets),
        transform=lambda images: images,
        model=model,
        loss=torch.nn.functional.cross_entropy,
        quality=accuracy_and_recall,
    )
"""

_MATRIX = """
[train]
workload = {workloads}
optimizer = "sgd"
[infer]
compression = "none"
backend = "cpu-eager"
batch_size = 32
[budget]
train_steps = 2
sample_s = {sample_s}
"""

_NEIGHBOUR = """
import time
while True:
    until = time.perf_counter() + 0.1
    while time.perf_counter() < until: pass
    time.sleep(0.1)
"""

_LAYERS_IN_NAME = re.compile(r"of_(\d+)\b")

Samplers = Mapping[str, MatrixSampler]
Keys = Mapping[str, Mapping[str, str]]
"""Of each network, the key of its stage by metric."""


def record(
    minutes: float,
    path: Path = RECORDED,
    *,
    sample_s: float = 0.25,
    extra: Mapping[str, int] = EXTRA,
    most: int | None = None,
) -> int:
    """Record blocks for so many minutes at most, making both sides ready included; returns how many.

    `most` is how many blocks at most, `extra` the networks of side B, `sample_s` how long a launch samples.
    Each block is in the file once it is whole, so that a later call goes on after it. Raises BenchError where
    a side cannot be made ready.
    """
    started, limit_s = time.monotonic(), 60 * minutes
    first = max((launch.block for launch in read_launches(path)), default=-1) + 1
    number, longest_s = first, 0.0
    with tempfile.TemporaryDirectory() as folder, ExitStack() as opened:
        samplers = {side: _sampler(Path(folder, side), sample_s, extra) for side in ("A", "B")}
        keys: dict[str, dict[str, str]] = {}
        for side, sampler in samplers.items():
            opened.callback(sampler.close)
            _say(f"preparing side {side}", started, limit_s)
            keys |= _keys(sampler, {LAYERS: BEFORE} if side == "A" else _by_layers(extra))
        while time.monotonic() - started + longest_s < limit_s and number - first != most:
            began = time.monotonic()
            launches = _block(number, samplers, keys)
            longest_s = max(longest_s, time.monotonic() - began)
            if launches is not None:
                append(launches, path)
                _say(f"block {number}, {len(launches)} launches", started, limit_s)
                number += 1
    return number - first


def _say(line: str, started: float, limit_s: float) -> None:
    print(f"{time.monotonic() - started:4.0f} of {limit_s:.0f} s: {line}", file=sys.stderr, flush=True)


def _sampler(folder: Path, sample_s: float, extra: Mapping[str, int]) -> MatrixSampler:
    folder.mkdir(parents=True)
    counts = sorted({LAYERS + more for more in extra.values()})
    functions = "".join(f"\ndef of_{count}(): return workload({count})\n" for count in counts)
    (folder / "own.py").write_text(_OWN + functions)
    names = [f"own:own.py:of_{count}" for count in (counts if folder.name == "B" else [LAYERS])]
    (folder / "mine.toml").write_text(_MATRIX.format(workloads=names, sample_s=sample_s))
    served = {"matrix": "mine.toml", "results": str(folder / "results")}
    return MatrixSampler(Place(folder.name, folder), served, folder / "log")


def _by_layers(extra: Mapping[str, int]) -> dict[int, str]:
    return {LAYERS + more: name for name, more in extra.items()}


def _keys(sampler: MatrixSampler, networks: Mapping[int, str]) -> dict[str, dict[str, str]]:
    """Return the keys of a side's stages by network, which is known by its layers, and metric."""
    found: dict[str, dict[str, str]] = {}
    for offer in sampler.timings():
        match = _LAYERS_IN_NAME.search(offer.stage)
        assert match is not None, offer.stage
        found.setdefault(networks[int(match[1])], {})[offer.metric] = offer.key
    return found


def _block(number: int, samplers: Samplers, keys: Keys) -> list[Launch] | None:
    """Return the launches of a block; None where one of them failed."""
    chance, neighbour = random.Random(number), bool(number % 2)
    with _neighbour() if neighbour else nullcontext():
        began = time.monotonic()
        for sampler in samplers.values():
            sampler.start_renewal()
        for sampler in samplers.values():
            sampler.end_renewal()
        servers_s = time.monotonic() - began
        launches = []
        for metric in sorted(keys[BEFORE]):
            order = chance.sample(sorted(keys, key=NETWORKS.index), len(keys))
            for network in (*order, *reversed(order)):
                began = time.monotonic()
                side = samplers["A" if network == BEFORE else "B"]
                launched = side.sample(keys[network][metric])[metric]
                if launched.value is None:
                    print(f"block {number} is left out: {launched.reason}", file=sys.stderr, flush=True)
                    return None
                launch_s = time.monotonic() - began
                launches.append(
                    Launch(number, neighbour, servers_s, metric, network, launched.value, launch_s)
                )
    return launches


@contextmanager
def _neighbour() -> Iterator[None]:
    """Run a process that keeps a core busy half of the time."""
    with subprocess.Popen([sys.executable, "-I", "-S", "-c", _NEIGHBOUR]) as process:
        try:
            yield
        finally:
            process.kill()
