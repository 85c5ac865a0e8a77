"""OpenVINO gives the model's outputs in the numbers that were asked for, and its runtime says that it did."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn

pytest.importorskip("openvino")
pytest.importorskip("nncf")

from bench.models.closeness import closeness
from bench.workloads.image_classification import SimpleCNN
from bench.workloads.output_kinds import OutputKind
from bench.workloads.vision_models import VisionTransformer
from techniques.backends import BACKENDS, openvino_kernels, openvino_runtime
from techniques.backends.cpu_features import int8_saturates
from techniques.backends.kernels import kernels_of_format
from techniques.backends.nncf_formats import has_attention
from techniques.backends.openvino_kernels import products_of_log
from techniques.backends.openvino_runtime import MODEL, OpenVino
from techniques.backends.operator_kinds import kind_of_operator
from techniques.backends.protocol import Numerics, OwnClock, Program
from techniques.compression import Tolerance
from techniques.precisions import PRECISIONS
from techniques.registry import CannotApply, TechniqueError

pytestmark = pytest.mark.skipif(
    BACKENDS.get("openvino").unavailable() is not None, reason=str(BACKENDS.get("openvino").unavailable())
)

BATCH_SIZE = 4
COSINES = {"int8-static": 0.98, "int8-dynamic": 0.98, "int8-weight": 0.98, "int4-weight": 0.95}


def images(count: int) -> torch.Tensor:
    return torch.randn(count, 3, 28, 28, generator=torch.Generator().manual_seed(0))


def tokens(count: int) -> torch.Tensor:
    drawn = torch.randint(1, 100, (count, 16), generator=torch.Generator().manual_seed(0))
    drawn[:, 12:] *= torch.arange(count)[:, None] % 2  # every other text is padded
    return drawn


def make_model(name: str) -> nn.Module:
    torch.manual_seed(0)
    if name == "cnn":
        return SimpleCNN(28).eval()
    if name == "vit":
        return VisionTransformer(28, patch=7, layers=1, heads=2).eval()
    pytest.importorskip("transformers")
    from bench.workloads.text_encoder import small

    return small(vocabulary=100, length=16, heads=2, layers=1, dropout=0.0).eval()


def lowered(name: str, numerics: Numerics, folder: Path) -> Program:
    model, draw = make_model(name), tokens if name == "text" else images
    runtime = OpenVino()
    try:
        runtime.lower(model, draw(BATCH_SIZE), numerics, [draw(30)], folder)
    except CannotApply as reason:
        if numerics.precision != "fp32" or "no VNNI" in str(reason):
            pytest.skip(str(reason))
        raise
    return runtime.load(folder, lambda: model, numerics, 1)


class Differences(nn.Module):
    """Asks for differences of neighbours in each way that Python has, as transformers does of positions."""

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        twice = torch.diff(inputs, n=2, prepend=inputs[:, :1] - 1, append=inputs[:, :1])
        signs = (inputs > 0).diff(dim=1).float()
        return torch.cat([twice, signs], dim=1)


class Bessel(nn.Module):
    """Has an operator that OpenVINO has no rule for."""

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return torch.special.bessel_j0(inputs)


def test_differences_of_neighbours_are_converted_and_torch_is_left_as_it_was(tmp_path: Path) -> None:
    before = torch.diff, torch.Tensor.diff
    batch = torch.randn(4, 6, generator=torch.Generator().manual_seed(0))
    runtime = OpenVino()
    runtime.lower(Differences(), batch, Numerics(None, "fp32"), [batch], tmp_path)
    program = runtime.load(tmp_path, Differences, Numerics(None, "fp32"), 1)
    assert torch.allclose(program.to_tensor(program(program.prepare(batch))), Differences()(batch))
    assert (torch.diff, torch.Tensor.diff) == before


def test_an_operator_without_a_rule_is_named(tmp_path: Path) -> None:
    batch = torch.ones(2, 3)
    with pytest.raises(CannotApply, match=r"OpenVINO has no rule to convert aten::special_bessel_j0$"):
        OpenVino().lower(Bessel(), batch, Numerics(None, "fp32"), [batch], tmp_path)


def outputs_of(name: str, program: Program) -> torch.Tensor:
    batches = (tokens if name == "text" else images)(4 * BATCH_SIZE).split(BATCH_SIZE)
    prepared = [program.prepare(batch) for batch in batches]
    return torch.cat([program.to_tensor(program(entry)).clone() for entry in prepared])


def measured(name: str, program: Program, allowed: Tolerance) -> str:
    """Return what is wrong with a program's outputs, or nothing."""
    with torch.no_grad():
        expected = make_model(name)((tokens if name == "text" else images)(4 * BATCH_SIZE))
    judged = {
        entry.metric: entry
        for entry in closeness(outputs_of(name, program), expected, allowed, OutputKind("scores"))
    }
    return judged["valid"].reason


@pytest.mark.parametrize("name", ["cnn", "vit", "text"])
def test_fp32_is_computed_in_fp32_and_nothing_less(name, tmp_path):
    program = lowered(name, Numerics(None, "fp32"), tmp_path)
    assert measured(name, program, Tolerance(relative_error=PRECISIONS["fp32"].relative_error)) == ""
    ran = program.kernels(None)
    assert "FullyConnected fp32" in ran
    assert not any(kernel.endswith(("bf16", "fp16", "-weight")) for kernel in ran)
    assert all(kernels_of_format(format_, ran) == [] for format_ in COSINES)


def test_a_model_without_products_is_served(tmp_path):
    model, batch = nn.MaxPool2d(2), images(BATCH_SIZE)
    OpenVino().lower(model, batch, Numerics(None, "fp32"), [], tmp_path)
    program = OpenVino().load(tmp_path, lambda: model, Numerics(None, "fp32"), 1)
    assert torch.equal(program.to_tensor(program(program.prepare(batch))), model(batch))


def test_the_runtimes_own_clock_is_within_the_time_of_a_call(tmp_path):
    program = lowered("text", Numerics(None, "fp32"), tmp_path)
    prepared = program.prepare(tokens(BATCH_SIZE))
    assert isinstance(program, OwnClock)
    for _ in range(20):
        began = time.perf_counter()
        program(prepared)
        call_s = time.perf_counter() - began
        assert 0 < program.latest_call_s() <= call_s


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
@pytest.mark.parametrize("name", ["cnn", "text"])
def test_another_precision_is_within_its_tolerance_and_named_by_the_runtime(name, precision, tmp_path):
    program = lowered(name, Numerics(None, precision), tmp_path)
    assert measured(name, program, Tolerance(relative_error=PRECISIONS[precision].relative_error)) == ""
    assert measured(name, program, Tolerance(relative_error=1e-5)) != ""
    assert f"FullyConnected {precision}" in program.kernels(None)
    assert "FullyConnected fp32" not in program.kernels(None)


@pytest.mark.parametrize(
    ("name", "format_", "expected"),
    [
        ("cnn", "int8-static", ["Convolution int8", "FullyConnected int8"]),
        ("cnn", "int8-dynamic", ["FullyConnected int8"]),
        ("cnn", "int8-weight", ["FullyConnected int8-weight"]),
        ("cnn", "int4-weight", ["FullyConnected int4-weight"]),
        ("vit", "int8-static", ["Convolution int8", "FullyConnected int8"]),
        ("text", "int8-static", ["FullyConnected int8"]),
        ("text", "int8-dynamic", ["FullyConnected int8"]),
        ("text", "int8-weight", ["FullyConnected int8-weight"]),
        ("text", "int4-weight", ["FullyConnected int4-weight"]),
    ],
)
def test_a_format_is_close_and_its_kernels_are_proven(name, format_, expected, tmp_path):
    program = lowered(name, Numerics(format_, "fp32"), tmp_path)
    assert measured(name, program, Tolerance(cosine=COSINES[format_])) == ""
    ran = program.kernels(None)
    proven = kernels_of_format(format_, ran)
    assert set(expected) <= set(proven) <= {*expected, "MatMul int8"}  # a MatMul on a CPU without VNNI
    other = [kernel for kernel in ran if kernel.startswith("FullyConnected") and kernel not in expected]
    assert other == (["FullyConnected fp32"] if name == "vit" else [])  # its product of means
    if name == "cnn" and format_ != "int8-static":
        assert "Convolution fp32" in ran  # only int8-static has a kernel for convolutions


@pytest.mark.parametrize("widths", [(64, 32, 32, 10), (128, 512, 512, 10)], ids=["small", "large"])
def test_a_model_of_linear_layers_alone_is_quantized_and_its_products_are_proven(widths, tmp_path):
    """OpenVINO makes one operator of several small layers, whose type does not say what it multiplies."""
    torch.manual_seed(0)
    layers = [part for i, o in itertools.pairwise(widths) for part in (nn.Linear(i, o), nn.ReLU())]
    model, numerics = nn.Sequential(*layers[:-1]).eval(), Numerics("int8-static", "fp32")
    batch = torch.randn(BATCH_SIZE, widths[0], generator=torch.Generator().manual_seed(0))
    OpenVino().lower(model, batch, numerics, [batch], tmp_path)
    program = OpenVino().load(tmp_path, lambda: model, numerics, 1)
    outputs = program.to_tensor(program(program.prepare(batch)))
    with torch.no_grad():
        assert torch.cosine_similarity(outputs.flatten(), model(batch).flatten(), dim=0) > 0.99
    ran = program.kernels(None)
    assert kernels_of_format("int8-static", ran)
    assert not [name for name in ran if name.startswith(openvino_kernels.PRODUCTS) and name.endswith("fp32")]
    traced = program.trace([program.prepare(batch)], 5, tmp_path / "trace.json")
    assert any(kind_of_operator(operator.name, ran) == "low" for operator in traced)


@pytest.mark.skipif(bool(int8_saturates()), reason=int8_saturates())
def test_only_int8_dynamic_quantizes_the_activations_of_compressed_weights(tmp_path):
    lowered("text", Numerics("int8-weight", "fp32"), tmp_path)
    loaded = {
        format_: OpenVino().load(tmp_path, nn.Module, Numerics(format_, "fp32"), 1)
        for format_ in ("int8-weight", "int8-dynamic")
    }
    outputs = {format_: outputs_of("text", program) for format_, program in loaded.items()}
    error = (outputs["int8-dynamic"] - outputs["int8-weight"]).abs().max() / outputs[
        "int8-weight"
    ].abs().max()
    assert 1e-4 < error < 0.05
    assert kernels_of_format("int8-dynamic", loaded["int8-weight"].kernels(None)) == []


def test_compressed_weights_in_bf16_run_in_bf16(tmp_path):
    program = lowered("text", Numerics("int8-weight", "bf16"), tmp_path)
    assert kernels_of_format("int8-weight", program.kernels(None)) == ["FullyConnected int8-weight"]
    assert "Subgraph bf16" in program.kernels(None)


def test_a_pair_that_the_runtime_has_no_kernel_for_is_refused_with_what_it_runs_instead(tmp_path):
    convolutional = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3)).eval()
    with pytest.raises(CannotApply, match=r"no int8-weight in fp32 kernel .* Convolution fp32"):
        OpenVino().lower(convolutional, images(1), Numerics("int8-weight", "fp32"), [], tmp_path)


def test_layers_without_groups_keep_int8_weights_and_are_shown(tmp_path):
    # 2352 inputs are 147 groups of 16, which are too small; 64 are two of 32.
    odd = nn.Sequential(nn.Flatten(), nn.Linear(2352, 64), nn.ReLU(), nn.Linear(64, 10)).eval()
    runtime, numerics = OpenVino(), Numerics("int4-weight", "fp32")
    runtime.lower(odd, images(1), numerics, [images(8)], tmp_path)
    ran = runtime.load(tmp_path, lambda: odd, numerics, 1).kernels(None)
    assert kernels_of_format("int4-weight", ran) == ["FullyConnected int4-weight"]
    assert kernels_of_format("int8-weight", ran) == ["FullyConnected int8-weight"]


def test_files_shrink_with_their_numbers(tmp_path):
    sizes = {}
    for format_ in (None, "int8-static", "int8-weight", "int4-weight"):
        folder = tmp_path / str(format_)
        folder.mkdir()
        lowered("cnn", Numerics(format_, "fp32"), folder)
        sizes[format_] = (folder / MODEL).with_suffix(".bin").stat().st_size
    assert sizes["int8-static"] < 0.3 * sizes[None]
    assert sizes["int8-weight"] < 0.3 * sizes[None]
    assert sizes["int4-weight"] < 0.2 * sizes[None]


def test_an_input_is_shared_and_not_copied(tmp_path):
    program = lowered("cnn", Numerics(None, "fp32"), tmp_path)
    batch = images(BATCH_SIZE)
    assert program.prepare(batch).data.ctypes.data == batch.data_ptr()


def test_a_trace_names_operators_with_their_time_and_opens_in_chrome(tmp_path):
    program = lowered("cnn", Numerics(None, "fp32"), tmp_path)
    path = tmp_path / "trace.json"
    operators = program.trace([program.prepare(images(BATCH_SIZE))], 5, path)
    assert any("Convolution" in entry.name and entry.calls == 10 and entry.self_s > 0 for entry in operators)
    assert [entry.self_s for entry in operators] == sorted((o.self_s for o in operators), reverse=True)
    events = json.loads(path.read_text())["traceEvents"]
    assert {"name", "ts", "dur", "ph"} <= events[0].keys()
    assert sum(event["dur"] for event in events) * 5 / 1e6 == pytest.approx(sum(o.self_s for o in operators))


def test_an_onnx_file_is_read_as_it_is(tmp_path):
    pytest.importorskip("onnxscript")
    model = make_model("cnn")
    torch.onnx.export(model, (images(BATCH_SIZE),), tmp_path / "given.onnx", dynamo=True, verbose=False)
    model.onnx_file = tmp_path / "given.onnx"
    runtime, numerics = OpenVino(), Numerics(None, "fp32")
    runtime.lower(model, images(BATCH_SIZE), numerics, [], tmp_path)
    program = runtime.load(tmp_path, lambda: model, numerics, 1)
    assert measured("cnn", program, Tolerance(relative_error=1e-4)) == ""


def test_attention_is_found_by_its_operator_and_by_its_softmax():
    import openvino

    class Attention(nn.Module):
        def forward(self, states: torch.Tensor) -> torch.Tensor:
            return (states @ states.transpose(-1, -2)).softmax(-1) @ states

    def graph(model: nn.Module, example: torch.Tensor):
        return openvino.convert_model(model, example_input=example)

    assert has_attention(graph(make_model("vit"), images(1)))
    assert has_attention(graph(Attention().eval(), torch.randn(2, 4, 8)))
    assert not has_attention(graph(nn.Sequential(nn.Linear(8, 4), nn.Softmax(-1)).eval(), torch.randn(2, 8)))


def test_only_a_logged_group_of_activations_proves_that_they_were_quantized():
    line = "primitive,create:cache_miss,cpu,inner_product,brgemm:x,forward,src:f32::f0 wei:u8:a::f0 {},,1"
    assert products_of_log(line.format("attr-zero-points:src_dyn_quant_group_size:32;")) == {
        "FullyConnected int8"
    }
    assert products_of_log(line.format("")) == {"FullyConnected int8-weight"}
    assert products_of_log(line.format("").replace("u8", "s4")) == {"FullyConnected int4-weight"}
    assert products_of_log(line.format("").replace("u8", "f32")) == set()


def test_a_process_that_cannot_log_what_is_compiled_is_told_with_its_last_line(tmp_path, monkeypatch):
    (tmp_path / "python").write_text("#!/bin/sh\necho no memory >&2\nexit 1\n")
    (tmp_path / "python").chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    with pytest.raises(RuntimeError, match=r"logs what OpenVINO compiles has failed: no memory$"):
        openvino_kernels._log_of_compiling(tmp_path / "model.xml", {})


def test_importing_it_sends_nothing_over_the_network():
    code = "import sys, techniques.backends.openvino_runtime; print(sys.modules['openvino_telemetry'])"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    ran = subprocess.run(
        [sys.executable, "-c", code], env=environment, check=True, capture_output=True, text=True
    )
    assert ran.stdout.strip() == "None"


def test_it_does_not_train():
    with pytest.raises(TechniqueError, match="does not support training"):
        OpenVino().compile_step(make_model("cnn"), nn.functional.cross_entropy, None, "fp32")


def test_sparse_weights_are_asked_of_the_plugin_only_where_it_unpacks_them(tmp_path, monkeypatch):
    runtime, static = OpenVino(sparse_weights=0.5), Numerics("int8-static", "fp32")
    with pytest.raises(CannotApply, match=r"sparse_weights: .* int8-static only, not of int8-weight"):
        runtime.lower(make_model("cnn"), images(1), Numerics("int8-weight", "fp32"), [], tmp_path)
    monkeypatch.setattr(openvino_runtime, "cpu_features", lambda: SimpleNamespace(cpu=("AVX2", "VNNI")))
    with pytest.raises(CannotApply, match=r"by AMX, which this CPU lacks"):
        runtime.lower(make_model("cnn"), images(1), static, [], tmp_path)
    monkeypatch.setattr(openvino_runtime, "cpu_features", lambda: SimpleNamespace(cpu=("AMX int8",)))
    model = make_model("cnn")
    with torch.no_grad():
        model.classifier[-1].weight[:] = 0.0
    runtime.lower(model, images(BATCH_SIZE), static, [images(8)], tmp_path)
    assert 1.0 in json.loads((tmp_path / openvino_runtime.ZEROS).read_text())
    program = runtime.load(tmp_path, lambda: model, static, 1)
    assert float(program.compiled.get_property(openvino_runtime.SPARSE_WEIGHTS)) == 0.5
    assert measured("cnn", program, Tolerance(cosine=0.0)) == ""


def test_weights_are_dense_unless_a_share_of_zeros_is_set():
    assert openvino_runtime.SPARSE_WEIGHTS not in openvino_runtime.configuration(Numerics(None, "fp32"), 1)
    assert BACKENDS.parse("openvino").create().sparse_weights == openvino_runtime.DENSE
