"""TensorFlow and LiteRT give the outputs of PyTorch's models, from files without pickle."""

from __future__ import annotations

import sys
from copy import deepcopy
from pathlib import Path

import pytest
import torch
from torch import nn

from bench.models.closeness import closeness
from bench.workloads.image_classification import SimpleCNN
from bench.workloads.output_kinds import OutputKind
from bench.workloads.stained_tissue import PatchCNN
from bench.workloads.tabular import Perceptron
from bench.workloads.vision_models import VisionTransformer
from techniques.backends import BACKENDS
from techniques.backends.kernels import kernels_of_format
from techniques.backends.protocol import Numerics, Program
from techniques.compression import COMPRESSIONS, Tolerance
from techniques.registry import CannotApply, TechniqueError

NAMES = [name for name in ("tensorflow", "tflite") if not BACKENDS.get(name).unavailable()]
if not NAMES:
    pytest.skip("needs TensorFlow", allow_module_level=True)

BATCH = 4
MODELS = {
    "cnn": (lambda: SimpleCNN(28), (3, 28, 28)),
    "mlp": (lambda: Perceptron(12, 3), (12,)),
    "normalized": (PatchCNN, (1, 32, 32)),
    "transformer": (lambda: VisionTransformer(8, 4, 1, 2), (3, 8, 8)),
}


def lowered(
    folder: Path, backend: str, model: nn.Module, batches: list[torch.Tensor], format_: str | None = None
):
    """Return the program and its outputs of the batches, and the model's."""
    with torch.no_grad():
        expected = torch.cat([model(batch) for batch in batches])
    runtime, numerics = BACKENDS.default(backend).create(), Numerics(format_, "fp32")
    runtime.lower(deepcopy(model), batches[0], numerics, [torch.cat(batches)], folder)
    threads = torch.get_num_threads()  # lowered in the same process, with as many
    program: Program = runtime.load(folder, lambda: model, numerics, threads)
    outputs = [program.to_tensor(program(program.prepare(batch))) for batch in batches]
    return program, torch.cat(outputs), expected


def drawn(name: str) -> tuple[nn.Module, list[torch.Tensor]]:
    torch.manual_seed(0)
    make, shape = MODELS[name]
    return make().eval(), list(torch.randn(16 * BATCH, *shape).split(BATCH))


@pytest.mark.parametrize("backend", NAMES)
@pytest.mark.parametrize("name", MODELS)
def test_a_lowered_model_gives_its_models_outputs(tmp_path, name, backend):
    _, outputs, expected = lowered(tmp_path, backend, *drawn(name))
    found = closeness(outputs, expected, Tolerance(relative_error=1e-4), OutputKind("scores"))
    assert {entry.metric: entry.reason for entry in found}["valid"] == ""


@pytest.mark.skipif("tflite" not in NAMES, reason="needs LiteRT")
@pytest.mark.parametrize("format_", ["int8-dynamic", "int8-static"])
def test_int8_runs_int8_kernels_within_its_tolerance(tmp_path, format_):
    program, outputs, expected = lowered(tmp_path, "tflite", *drawn("cnn"), format_)
    cosine = Tolerance(cosine=COMPRESSIONS.get(format_).tolerance.cosine)
    found = closeness(outputs, expected, cosine, OutputKind("scores"))
    assert {entry.metric: entry.reason for entry in found}["valid"] == ""
    ran = program.kernels(program.prepare(torch.randn(BATCH, 3, 28, 28)))
    assert {"Convolution int8", "FullyConnected int8"} <= set(kernels_of_format(format_, ran))


@pytest.mark.parametrize("backend", NAMES)
def test_a_lowered_file_has_no_pickle_and_names_its_kernels(tmp_path, backend):
    program, *_ = lowered(tmp_path, backend, *drawn("cnn"))
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert files and not [path for path in files if path.suffix in (".pkl", ".pickle", ".pt")]
    assert "Convolution fp32" in program.kernels(program.prepare(torch.randn(BATCH, 3, 28, 28)))


@pytest.mark.parametrize("backend", NAMES)
def test_what_has_no_counterpart_is_one_line(tmp_path, backend):
    runtime, batch = BACKENDS.default(backend).create(), torch.randn(2, 3)

    def refused(model: nn.Module, format_: str | None = None) -> None:
        runtime.lower(model, batch, Numerics(format_, "fp32"), [batch], tmp_path)

    with pytest.raises(CannotApply, match=r"Keras has no layer here for aten\.hardtanh"):
        refused(nn.Hardtanh())
    with pytest.raises(TechniqueError, match="has no kernel for fp8"):
        refused(nn.Linear(3, 3), "fp8")
    given = nn.Identity()
    given.onnx_file = "model.onnx"
    with pytest.raises(CannotApply, match="an ONNX file"):
        refused(given)


def test_no_other_framework_is_imported():
    assert not {"flax", "torchax"} & sys.modules.keys()
