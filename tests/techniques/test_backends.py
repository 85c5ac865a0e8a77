"""Every backend gives the model's outputs, within the tolerance of its format, from files without pickle."""

from __future__ import annotations

import zipfile
from pathlib import Path

import onnx
import pytest
import torch
from onnx import numpy_helper

from bench.models.closeness import closeness
from bench.workloads.image_classification import SimpleCNN
from bench.workloads.output_kinds import OutputKind
from techniques.backends import BACKENDS, hardware, onnx_runtime, torchao_formats
from techniques.backends.inductor import quantize_static
from techniques.backends.kernels import kernels_of_format
from techniques.backends.protocol import Numerics
from techniques.compression import COMPRESSIONS, Tolerance
from techniques.precisions import PRECISIONS
from techniques.registry import CannotApply

OF_WEIGHT_FORMATS = [("cpu-inductor", "int8-weight"), ("cpu-inductor", "int4-weight")]
PAIRS = [
    (name, format_)
    for name, row in BACKENDS.rows().items()
    for format_ in (None, *row.formats)
    # Tests of their own have what needs a process, what compiles formats of weights, and engines of texts.
    if row.unavailable() is None and row.fork_safe and (name, format_) not in OF_WEIGHT_FORMATS
    if not row.only_generates
]


def lowered(folder: Path, backend: str, numerics: Numerics, batch_size: int):
    """Return the lowered model, and outputs of it and of the eager model on the same random batches."""
    torch.manual_seed(0)
    model = SimpleCNN(28).eval()
    batches = torch.randn(64, 3, 28, 28).split(batch_size)
    with torch.no_grad():
        expected = torch.cat([model(batch) for batch in batches])
    runtime = BACKENDS.default(backend).create()
    runtime.lower(model, batches[0], numerics, [torch.randn(64, 3, 28, 28)], folder)
    program = runtime.load(folder, lambda: SimpleCNN(28), numerics, 1)
    outputs = [program.to_tensor(program(program.prepare(batch))).clone() for batch in batches]
    return program, torch.cat(outputs), expected


def faults(outputs: torch.Tensor, expected: torch.Tensor, allowed: Tolerance) -> str:
    measured = {entry.metric: entry for entry in closeness(outputs, expected, allowed, OutputKind("scores"))}
    return measured["valid"].reason


OF_INDUCTOR = {
    ("cpu-inductor", "int8-dynamic"): ["_int_mm_out"],
    ("cpu-inductor", "int8-static"): ["_qconv_pointwise_tensor", "_qlinear_pointwise_tensor"],
}


@pytest.mark.parametrize(("backend", "format_"), PAIRS)
def test_a_lowered_model_gives_its_models_outputs_and_runs_kernels_of_its_format(tmp_path, backend, format_):
    row = BACKENDS.get(backend)
    precision = next(name for name in row.precisions if row.cannot_lower(format_, name) is None)
    try:
        program, outputs, expected = lowered(tmp_path, backend, Numerics(format_, precision), batch_size=4)
    except CannotApply as reason:
        if "no VNNI" not in str(reason):
            raise
        pytest.skip(str(reason))
    if format_ is not None:
        ran = kernels_of_format(format_, program.kernels(program.prepare(torch.randn(4, 3, 28, 28))))
        assert ran and ran == OF_INDUCTOR.get((backend, format_), ran)
    if format_ is None:
        allowed = Tolerance(relative_error=1e-4)
    else:
        # Untrained outputs lie close to each other: their order says nothing yet.
        allowed = Tolerance(cosine=COMPRESSIONS.get(format_).tolerance.cosine)
    assert faults(outputs, expected, allowed) == ""


@pytest.mark.parametrize("backend", ["cpu-eager"])
def test_bf16_is_within_its_own_tolerance(tmp_path, backend):
    _, outputs, expected = lowered(tmp_path, backend, Numerics(None, "bf16"), batch_size=4)
    assert faults(outputs, expected, Tolerance(relative_error=PRECISIONS["bf16"].relative_error)) == ""
    assert faults(outputs, expected, Tolerance(relative_error=1e-4)) != ""


@pytest.mark.slow
def test_int8_static_is_right_on_an_encoder_of_texts_with_padding(tmp_path):
    pytest.importorskip("transformers")
    from bench.workloads.text_encoder import small

    torch.manual_seed(0)
    model = small(vocabulary=50, length=16, heads=2, layers=1, dropout=0.0).eval()
    texts = torch.randint(1, 50, (12, 16)) * (torch.arange(16) < torch.arange(3, 15)[:, None])
    batch, *calibration = texts.split(4)
    with torch.no_grad():
        expected = model(batch)
    runtime, numerics = BACKENDS.default("cpu-inductor").create(), Numerics("int8-static", "fp32")
    runtime.lower(model, batch, numerics, calibration, tmp_path)
    program = runtime.load(tmp_path, lambda: model, numerics, 1)
    outputs = program.to_tensor(program(program.prepare(batch)))
    assert kernels_of_format("int8-static", program.kernels(program.prepare(batch)))
    assert faults(outputs, expected, Tolerance(cosine=0.98)) == ""


def test_eager_int8_weights_rest_on_disk_as_int8_and_without_pickle(tmp_path):
    for format_ in (None, "int8-dynamic"):
        (tmp_path / str(format_)).mkdir()
        lowered(tmp_path / str(format_), "cpu-eager", Numerics(format_, "fp32"), batch_size=1)
    files = {path.parent.name: path for path in tmp_path.rglob("*.safetensors")}
    assert files["int8-dynamic"].stat().st_size < 0.3 * files["None"].stat().st_size
    assert not any(zipfile.is_zipfile(path) for path in files.values())


def largest_int8(numbers) -> int:
    return max(abs(int(extreme)) for each in numbers for extreme in (each.min(), each.max()))


def test_int8_dynamic_takes_7_bits_where_onednns_products_would_saturate(monkeypatch):
    monkeypatch.setattr(torch.cpu, "_is_vnni_supported", lambda: True)
    largest = []
    for reason in ("", "int8 products saturate"):
        monkeypatch.setattr(torchao_formats, "int8_saturates", lambda reason=reason, **_: reason)
        model = torchao_formats.quantize(torch.nn.Sequential(torch.nn.Linear(64, 32)), "int8-dynamic")
        plain = torchao_formats.plain_tensors(model).values()
        largest.append(largest_int8(entry for entry in plain if getattr(entry, "dtype", None) == torch.int8))
    assert 64 < largest[0] <= 128 and largest[1] <= 64


@pytest.mark.parametrize("format_", ["int8-dynamic", "int8-static"])
def test_onnx_runtimes_weights_take_7_bits_where_products_would_saturate(tmp_path, monkeypatch, format_):
    largest = []
    for reason in ("", "int8 products saturate"):
        monkeypatch.setattr(onnx_runtime, "int8_saturates", lambda reason=reason: reason)
        model, batch = torch.nn.Linear(64, 32).eval(), torch.randn(4, 64)
        onnx_runtime.OnnxRuntime().lower(model, batch, Numerics(format_, "fp32"), [batch], tmp_path)
        weights = onnx.load(tmp_path / onnx_runtime.MODEL).graph.initializer
        largest.append(
            largest_int8(numpy_helper.to_array(entry) for entry in weights if entry.data_type == entry.INT8)
        )
    assert 64 < largest[0] <= 128 and largest[1] <= 64


def test_outputs_out_of_tolerance_are_named():
    outputs = torch.eye(4)
    assert "relative error" in faults(outputs * 1.01, outputs, Tolerance(relative_error=1e-4))
    assert "cosine" in faults(-outputs, outputs, Tolerance(cosine=0.98))
    assert "agreement" in faults(outputs.roll(1, 1), outputs, Tolerance(top1_agreement=0.97))
    assert "not finite" in faults(outputs * float("nan"), outputs, Tolerance())
    assert faults(outputs, outputs, Tolerance(1e-4, 0.98, 0.97)) == ""


def test_without_a_gpu_cuda_says_what_is_wanted(monkeypatch):
    monkeypatch.setattr(hardware, "_nvidia_gpus", lambda: 0)
    monkeypatch.setattr(hardware, "_JETSON", Path("/nowhere"))
    assert "requires an NVIDIA GPU" in (BACKENDS.get("cuda-eager").unavailable() or "")


def test_without_a_compiler_inductor_says_how_to_get_one(monkeypatch):
    monkeypatch.setattr(hardware.shutil, "which", lambda name: None)
    assert "apt install g++" in (BACKENDS.get("cpu-inductor").unavailable() or "")


def test_a_layer_whose_output_nobody_takes_is_no_obstacle_to_int8_static():
    class Pooled(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.pooler = torch.nn.Linear(8, 8), torch.nn.Linear(8, 8)

        def forward(self, batch: torch.Tensor) -> torch.Tensor:
            states = self.body(batch)
            torch.tanh(self.pooler(states))
            return states

    example, model = torch.randn(4, 8), Pooled().eval()
    converted = quantize_static(model, example, [example])
    assert torch.nn.functional.cosine_similarity(converted(example), model(example)).min() > 0.98
