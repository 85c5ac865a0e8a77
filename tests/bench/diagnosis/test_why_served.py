"""`bench why` on small models that are really served: causes planted in the model, found in what ran.

These tests are of causes. That a model is not faster is given where the machine could not tell it while it
is busy; where kernels are fast on one CPU and slow on another, the expected cause follows the verdict.
"""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from bench.analysis.roofline import RooflinePoint
from bench.diagnosis.evidence import Evidence
from bench.diagnosis.not_faster import conversions
from bench.diagnosis.why import Answer, explain
from techniques.backends.cpu_features import cpu_features
from tests.support.served_pairs import evidence_of_pair, load

ROOT = Path(__file__).parents[3]
NOT_FASTER = {"speedup": 1.0, "low": 0.98, "high": 1.02}


def seeded(make: Callable[[], nn.Module]) -> Callable[[], nn.Module]:
    def build() -> nn.Module:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return make().eval()

    return build


def example(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


class Swings(nn.Module):
    """Small products, with an operator between them that no format takes."""

    def __init__(self, width: int, layers: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(width, width) for _ in range(layers))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for layer in self.layers:
            x = layer(x).abs()
        return x


class Attends(nn.Module):
    """Products of two activations, which are nobody's weights, and a small layer after them."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.out = nn.Linear(width, 16)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        weights = x @ x.transpose(1, 2)
        return self.out((weights @ weights @ x)[:, :1])


class Softens(nn.Module):
    """A small product, and much softmax."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(16, 16)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for axis in (0, 2, 0, 2):
            x = torch.softmax(x, axis)
        return self.layer(x[:, :1])


def convolutions() -> nn.Module:
    layers = [nn.Conv2d(8, 32, 3), nn.ReLU(), nn.Conv2d(32, 32, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1)]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(32, 16))


def perceptron(*widths: int) -> Callable[[], nn.Module]:
    def make() -> nn.Module:
        pairs = itertools.pairwise(widths)
        return nn.Sequential(*(layer for i, o in pairs for layer in (nn.Linear(i, o), nn.ReLU())))

    return seeded(make)


def masked(make: Callable[[], nn.Module]) -> Callable[[], nn.Module]:
    """Return a model of which half of the weights are zero, the smallest ones."""

    def build() -> nn.Module:
        model = make()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter[parameter.abs() < parameter.abs().median()] = 0
        return model

    return build


def compared(
    folder: Path,
    backend: str,
    make: Callable[[], nn.Module],
    batch: torch.Tensor,
    format_: str | None = None,
    *,
    own: Callable[[], nn.Module] | None = None,
    precision: str = "fp32",
    compression: str = "",
    **known: Any,
) -> tuple[Evidence, Answer]:
    """Serve a model and its compressed form; return the evidence and the answer."""
    plain = load(backend, make, batch, folder / "plain", None, precision)
    compressed = load(backend, own or make, batch, folder / "own", format_, precision)
    evidence = evidence_of_pair(
        compressed,
        plain,
        compression=compression or str(format_),
        backend=backend,
        **{"format": format_, "precision": precision, "batch_size": len(batch)} | known,
    )
    return evidence, explain(evidence)


def names(answer: Answer) -> list[str]:
    return [cause.name for cause in answer.causes]


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_eager_int8_around_small_layers_converts_at_each(tmp_path):
    make = seeded(lambda: Swings(64, 6))
    _, answer = compared(tmp_path, "cpu-eager", make, example(64, 64), "int8-dynamic", **NOT_FASTER)
    assert names(answer)[0] == "conversions", answer
    assert "converting numbers" in answer.sentence


@pytest.mark.slow
def test_onnx_runtime_s_static_int8_converts_between_products_and_other_operators(tmp_path):
    make = seeded(lambda: Swings(32, 6))
    evidence, answer = compared(tmp_path, "onnxruntime", make, example(2048, 32), "int8-static")
    found = conversions(evidence)
    assert found is not None and "QuantizeLinear" in found.sentence, evidence
    assert answer.verdict == "faster" or found in answer.causes


def test_convolutions_that_eager_int8_leaves_are_named(tmp_path):
    batch = example(16, 8, 40, 40)
    evidence, answer = compared(
        tmp_path, "cpu-eager", seeded(convolutions), batch, "int8-dynamic", **NOT_FASTER
    )
    assert names(answer)[0] == "full-precision layers", answer
    assert "takes linear layers" in answer.sentence and "convolution" in answer.sentence
    assert evidence.own.share("full") > 0.5


def test_products_of_activations_stay_in_floats_in_onnx_runtime(tmp_path):
    make = seeded(lambda: Attends(96))
    _, answer = compared(tmp_path, "onnxruntime", make, example(4, 96, 96), "int8-dynamic", **NOT_FASTER)
    assert names(answer)[0] == "full-precision layers", answer
    assert "MatMul" in answer.sentence
    layers = answer.causes[0].evidence
    assert layers.startswith("3 of 4 products; layers ")


@pytest.mark.parametrize(
    "backend",
    ["cpu-eager", "onnxruntime", "openvino", pytest.param("executorch", marks=pytest.mark.slow)],
)
def test_masked_zeros_run_in_dense_kernels(backend, tmp_path):
    make = perceptron(256, 256, 16)
    known = {"compression": "prune-magnitude:0.5", **NOT_FASTER}
    evidence, answer = compared(tmp_path, backend, make, example(16, 256), own=masked(make), **known)
    assert names(answer)[0] == "dense kernels on zeros", answer
    assert evidence.own.zeros == pytest.approx(0.5, abs=0.05)


SPARSE = "openvino:sparse_weights=0.4"


@pytest.mark.parametrize("side", [256, 200])
def test_zeros_are_left_out_by_sparse_kernels_alone_where_the_layers_fit(side, tmp_path):
    """64 divides 256, and not 200."""
    if "AMX int8" not in cpu_features().cpu:
        pytest.skip("this CPU has no AMX, by which OpenVINO unpacks sparse weights")
    make = perceptron(side, side, side)
    known = {"compression": "prune-magnitude:0.5+int8-static", **NOT_FASTER}
    evidence, answer = compared(
        tmp_path, SPARSE, make, example(16, side), "int8-static", own=masked(make), **known
    )
    said = {cause.name: cause.sentence for cause in answer.causes}
    if side % 64:
        assert not evidence.own.sparse_kernels
        assert "no product leaves them out" in said["dense kernels on zeros"]
    else:
        assert evidence.own.sparse_kernels and "dense kernels on zeros" not in said


def test_recovered_weights_run_in_the_same_kernels(tmp_path):
    known = {"compression": "finetune", **NOT_FASTER}
    other = seeded(lambda: nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 8)))

    def trained() -> nn.Module:
        model = other()
        with torch.no_grad():
            model[0].weight.mul_(1.01)
        return model

    _, answer = compared(tmp_path, "onnxruntime", other, example(8, 64), own=trained, **known)
    assert names(answer)[0] == "same structure", answer


def test_half_of_the_channels_has_a_quarter_of_the_operations(tmp_path):
    wide, narrow = perceptron(64, 512, 512, 16), perceptron(64, 256, 256, 16)
    faster = {"compression": "prune-channels:0.5", "speedup": 2.0, "low": 1.9, "high": 2.1}
    _, answer = compared(tmp_path, "cpu-eager", wide, example(64, 64), own=narrow, **faster)
    found = next(cause for cause in answer.causes if cause.name == "fewer operations")
    assert answer.verdict == "faster" and "0.2" in found.sentence


def test_a_layer_that_is_kept_in_floats_is_named(tmp_path):
    make = seeded(lambda: nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 1024)))
    batch = example(64, 64)
    plain = load("onnxruntime", make, batch, tmp_path / "plain")
    own = load("onnxruntime", make, batch, tmp_path / "own", "int8-static", kept=("2",))
    known = {"compression": "int8-static:keep=2", "format": "int8-static", "batch_size": 64, **NOT_FASTER}
    answer = explain(evidence_of_pair(own, plain, backend="onnxruntime", **known))
    (found,) = [cause for cause in answer.causes if cause.name == "full-precision layers"]
    assert "1 of 2 products" in found.evidence, answer


@pytest.mark.parametrize("backend", ["cpu-eager", "onnxruntime"])
def test_tiny_shapes_leave_nothing_but_calls(backend, tmp_path):
    _, answer = compared(
        tmp_path,
        backend,
        perceptron(16, 16, 16, 16),
        example(1, 16),
        own=perceptron(16, 8, 8, 16),
        compression="prune-channels:0.5",
        **NOT_FASTER,
    )
    assert names(answer)[0] == "small shapes", answer


@pytest.mark.slow
def test_softmax_is_not_compressed(tmp_path):
    make, batch = seeded(Softens), example(64, 64, 16)
    _, answer = compared(tmp_path, "onnxruntime", make, batch, "int8-dynamic", **NOT_FASTER)
    assert names(answer)[0] == "other operators" and "Softmax" in answer.sentence, answer


def test_weights_that_become_floats_in_each_product_save_bytes_or_cost_time(tmp_path):
    side = 1024
    _, answer = compared(
        tmp_path,
        "cpu-eager",
        seeded(lambda: nn.Sequential(nn.Linear(side, side))),
        example(64, side),
        "int8-weight",
        precision="bf16",
    )
    if answer.verdict == "not faster":
        assert names(answer)[0] == "dequantizing kernel", answer
        assert "only weights are int8 and become bf16" in answer.sentence
    else:
        assert "fast kernels" in names(answer)


def test_a_large_matrix_times_a_vector_is_bound_by_memory(tmp_path):
    side = 3072
    bound = RooflinePoint(1e9, 0.5, "memory", 0.8, 0.01, 0.01)  # 36 MiB of weights for 19 MFLOP
    make = seeded(lambda: nn.Sequential(nn.Linear(side, side)))
    evidence, _ = compared(tmp_path, "openvino", make, example(1, side), "int8-weight")
    own = replace(evidence.own, bytes_moved=1.0 * side * side, point=bound)
    plain = replace(evidence.twin, bytes_moved=4.0 * side * side, point=bound)
    answer = explain(replace(evidence, own=own, plain=plain))
    said = {cause.name: cause.sentence for cause in answer.causes}
    if answer.verdict == "faster":
        assert "0.250× the bytes" in said["fewer bytes"]
    else:
        assert names(answer)[0] == "dequantizing kernel", answer


@pytest.mark.slow
def test_one_thread_beside_two_is_seen(tmp_path):
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("needs two CPUs")
    make, batch = perceptron(1024, 1024, 1024), example(64, 1024)
    plain = load("onnxruntime", make, batch, tmp_path / "plain", threads=2)
    own = load("onnxruntime", perceptron(1024, 1000, 1024), batch, tmp_path / "own", threads=1)
    known = {"compression": "prune-channels:0.02", "backend": "onnxruntime", "threads": 2, **NOT_FASTER}
    evidence = evidence_of_pair(own, plain, **known)
    if (evidence.twin.busy_cpus or 0.0) < 1.5:
        pytest.skip("two CPUs were not free")
    assert "threads" in names(explain(evidence))


@pytest.mark.slow
def test_int8_that_the_cpu_multiplies_fast_is_faster(tmp_path):
    if "VNNI" not in cpu_features().cpu:
        pytest.skip("this CPU has no VNNI: int8 products need not be faster")
    _, answer = compared(
        tmp_path, "onnxruntime", perceptron(1024, 1024, 1024), example(32, 1024), "int8-static"
    )
    assert answer.verdict == "faster" and names(answer)[0] == "fast kernels", answer
    assert "int8 products" in answer.sentence


_LIMITED = """
import json, sys
from pathlib import Path
import torch
from tests.bench.diagnosis.test_why_served import compared, example, perceptron
torch.set_num_threads(1)
evidence, answer = compared(Path(sys.argv[1]), "cpu-eager", perceptron(512, 512, 512), example(64, 512),
                            "int8-dynamic", limits="ONEDNN_MAX_CPU_ISA=AVX2")
from bench.diagnosis.not_faster import _lacking
print(json.dumps({"features": sorted(evidence.features), "lacking": _lacking(evidence), "names":
      [cause.name for cause in answer.causes], "verdict": answer.verdict, "low": evidence.own.seconds("low"),
      "replaced": evidence.replaced_s}))
"""


@pytest.mark.slow
def test_without_vnni_the_missing_instructions_are_named(tmp_path):
    if "AVX2" not in cpu_features().cpu:
        pytest.skip("not an x86 CPU with AVX2")
    environment = {**os.environ, "ONEDNN_MAX_CPU_ISA": "AVX2", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", _LIMITED, str(tmp_path)]
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert "VNNI" not in found["features"]
    assert "no VNNI" in found["lacking"] and "ONEDNN_MAX_CPU_ISA=AVX2" in found["lacking"]
    if found["verdict"] == "not faster" and found["low"] > 0.9 * found["replaced"]:
        assert "missing instructions" in found["names"]


@pytest.mark.slow
def test_inductor_s_compiled_code_is_told_by_the_kernels_that_it_calls(tmp_path):
    make = seeded(lambda: Swings(64, 4))
    evidence, answer = compared(tmp_path, "cpu-inductor", make, example(64, 64), "int8-static", **NOT_FASTER)
    assert evidence.own.rest == "generated"
    assert names(answer)[0] == "compiled code", answer
    assert "convert numbers" in answer.sentence and "_qlinear" in answer.causes[0].evidence
