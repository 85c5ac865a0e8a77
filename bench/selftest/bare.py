"""A timed stage's work as a script of its own times it: `-m bench.selftest.bare WHAT THREADS [FILE BATCHES]`.

Nothing of the harness is in it: no fork server, no request, no pass, no display, no pinning. It prints the
median of the seconds that a call took, and those of the reference product around it, which tells a machine
that was slow meanwhile. `WHAT` is `step`, `cpu-eager`, `onnxruntime` or `openvino`; `FILE` what the last
three serve: safetensors, ONNX or IR; `BATCHES` an array of batches. OpenVINO's is timed by its own
`benchmark_app`.
"""

from __future__ import annotations

import itertools
import os
import re
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file

from bench.instruments.speed import reference_s
from bench.processes import output_of

STEP_BATCH = 128
WARM_S = 0.5
SAMPLE_S = 0.4

_PRECISIONS = {"float32": "f32", "int64": "i64", "int32": "i32"}


def main(what: str, threads: str, file: str = "", batches: str = "") -> None:
    """Time one kind of call and print the median."""
    torch.set_num_threads(int(threads))
    if what == "step":
        call = step()
    elif what == "onnxruntime":
        call = serve_session(file, np.load(batches), int(threads))
    elif what == "cpu-eager":
        call = serve_model(file, torch.from_numpy(np.load(batches)))
    before_s = reference_s()
    call_s = benchmark_app(file, np.load(batches), threads) if what == "openvino" else median_s(call)
    print(call_s, max(before_s, reference_s()))


def median_s(call: Callable[[], object]) -> float:
    """Return the median of the seconds that a warm call takes."""
    warm_until = time.perf_counter() + WARM_S
    while time.perf_counter() < warm_until:
        call()
    durations = []
    until = time.perf_counter() + SAMPLE_S
    while time.perf_counter() < until:
        began = time.perf_counter()
        call()
        durations.append(time.perf_counter() - began)
    return statistics.median(durations)


def step() -> Callable[[], object]:
    """Return a call that takes the next step of SGD on SimpleCNN."""
    from bench.workloads.image_classification import FASHION_MNIST_SIMPLECNN as workload

    # The same data and weights: on noise SimpleCNN takes 15 % longer, as its pooling has more to compare.
    data = workload.data()
    torch.manual_seed(0)
    model = workload.model().train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.2)
    order = itertools.cycle(torch.randperm(len(data.train_inputs)).split(STEP_BATCH)[:-1])

    def call() -> object:
        chosen = next(order)
        optimizer.zero_grad(set_to_none=True)
        loss = workload.loss(model(workload.transform(data.train_inputs[chosen])), data.train_targets[chosen])
        loss.backward()
        return optimizer.step()

    return call


def serve_session(file: str, batches: np.ndarray, threads: int) -> Callable[[], object]:
    """Return a call that serves the next batch by ONNX Runtime, in a session that is set up as most are."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    turn = itertools.cycle(batches)
    return lambda: session.run(None, {name: next(turn)})


def serve_model(file: str, batches: torch.Tensor) -> Callable[[], object]:
    """Return a call that serves the next batch by SimpleCNN in eager PyTorch."""
    from bench.workloads.image_classification import FASHION_MNIST_SIMPLECNN

    model = FASHION_MNIST_SIMPLECNN.model().eval()
    model.load_state_dict(load_file(file))
    turn = itertools.cycle(batches)

    def call() -> object:
        with torch.inference_mode():
            return model(next(turn))

    return call


def benchmark_app(file: str, batches: np.ndarray, threads: str) -> float:
    """Return the median seconds of a call as OpenVINO's own tool tells it: one request at a time, in fp32."""
    with tempfile.TemporaryDirectory() as folder:
        for number, batch in enumerate(batches):
            np.save(Path(folder, f"{number}.npy"), batch)
        words = [
            *(str(Path(sys.executable).with_name("benchmark_app")), "-m", file, "-i", folder, "-d", "CPU"),
            *("-hint", "none", "-api", "sync", "-nireq", "1", "-nstreams", "1", "-nthreads", threads),
            *("-infer_precision", "f32", "-ip", _PRECISIONS[batches.dtype.name], "-t", "1"),
        ]
        # What says CI sends no telemetry.
        environment = {**os.environ, "CI": "true"}
        output = output_of(words, environment)
    (value, unit) = re.findall(r"Median:\s+([\d.]+) (us|ms)", output)[0]
    return float(value) * {"us": 1e-6, "ms": 1e-3}[unit]


if __name__ == "__main__":
    main(*sys.argv[1:])
