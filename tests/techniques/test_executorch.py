"""ExecuTorch gives the model's outputs from its file, by the XNNPACK kernels that a format promises."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn

pytest.importorskip("executorch")

from bench.models.closeness import closeness
from bench.workloads.encoder_decoder import EncoderDecoder
from bench.workloads.image_classification import SimpleCNN
from bench.workloads.output_kinds import OutputKind
from bench.workloads.vision_models import ResidualBlock, VisionTransformer
from techniques.backends.executorch_runtime import MODEL, ExecuTorch, _kernel_name
from techniques.backends.kernels import kernels_of_format
from techniques.backends.protocol import Numerics, Program
from techniques.compression import Tolerance
from techniques.registry import CannotApply, TechniqueError

BATCH = 4
FP32 = Numerics(None, "fp32")


def encoder() -> nn.Module:
    pytest.importorskip("transformers")
    from bench.workloads.text_encoder import small

    return small(vocabulary=50, length=8, heads=1, layers=1, dropout=0.0)


def images(size: int) -> Callable[[int], torch.Tensor]:
    return lambda count: torch.randn(count, 3, size, size)


def tokens(count: int) -> torch.Tensor:
    """Return sentences of unlike lengths, padded with zeros."""
    drawn = torch.randint(1, 50, (count, 8))
    drawn[: count // 2, 5:] = 0
    return drawn


MODELS = {
    "cnn": (lambda: SimpleCNN(28), images(28)),
    "residual": (
        lambda: nn.Sequential(ResidualBlock(3, 8, stride=2), nn.Flatten(), nn.Linear(128, 10)),
        images(8),
    ),
    "vit": (lambda: VisionTransformer(size=8, patch=4, layers=1, heads=1), images(8)),
    "encoder": (encoder, tokens),
}


class Lowered:
    """A small model, lowered and loaded, with batches and the outputs of the eager fp32 model on them."""

    def __init__(self, name: str, numerics: Numerics, folder: Path) -> None:
        torch.manual_seed(0)
        make, draw = MODELS[name]
        model = make().eval()
        self.folder, self.numerics, self.batches = folder, numerics, draw(4 * BATCH).split(BATCH)
        with torch.no_grad():
            self.expected = torch.cat([model(batch) for batch in self.batches])
        ExecuTorch().lower(model, self.batches[0], numerics, [draw(2 * BATCH), draw(2)], folder)
        self.program = self.load()

    def load(self) -> Program:
        return ExecuTorch().load(self.folder, nn.Identity, self.numerics, 1)

    def outputs(self, program: Program) -> torch.Tensor:
        calls = [program(program.prepare(batch)) for batch in self.batches]
        return torch.cat([program.to_tensor(output) for output in calls])

    def kernels(self) -> list[str]:
        return self.program.kernels(self.program.prepare(self.batches[0]))


@pytest.fixture(scope="module")
def lowered(tmp_path_factory):
    """Return a function that lowers each model once in each format and precision."""
    known: dict[tuple[str, Numerics], Lowered] = {}

    def lower(name: str, format_: str | None = None, precision: str = "fp32") -> Lowered:
        key = name, Numerics(format_, precision)
        if key not in known:
            known[key] = Lowered(*key, tmp_path_factory.mktemp("lowered"))
        return known[key]

    return lower


PRODUCTS = ("Convolution ", "FullyConnected ", "MatMul ")

CASES = [
    ("cnn", None, "fp32", ["Convolution fp32", "FullyConnected fp32"]),
    ("cnn", None, "fp16", ["Convolution fp16", "FullyConnected fp16"]),
    ("cnn", "int8-static", "fp32", ["Convolution int8", "FullyConnected int8"]),
    ("residual", "int8-static", "fp32", ["Convolution int8", "FullyConnected int8"]),
    # XNNPACK's quantizer leaves a convolution that a ReLU follows as it is.
    ("residual", "int8-dynamic", "fp32", ["Convolution fp32", "Convolution int8", "FullyConnected int8"]),
    ("vit", "int8-dynamic", "fp32", ["Convolution int8", "FullyConnected int8", "MatMul fp32"]),
    ("encoder", None, "fp32", ["FullyConnected fp32", "MatMul fp32"]),
    ("encoder", "int8-static", "fp32", ["FullyConnected int8", "MatMul fp32"]),
]


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_layers_that_all_read_an_encoders_states_are_served_in_int8(tmp_path, precision):
    torch.manual_seed(0)
    model, numerics = EncoderDecoder(50, 4, 4, 32, 3, 2).eval(), Numerics("int8-dynamic", precision)
    batch = torch.randint(1, 50, (BATCH, 8))
    ExecuTorch().lower(model, batch, numerics, [], tmp_path)
    program = ExecuTorch().load(tmp_path, nn.Identity, numerics, 1)
    prepared = program.prepare(batch)
    with torch.no_grad():
        expected = model(batch).flatten()
    assert torch.cosine_similarity(program.to_tensor(program(prepared)).flatten(), expected, dim=0) > 0.98
    assert "FullyConnected int8" in program.kernels(prepared)


@pytest.mark.parametrize("approximate", ["none", "tanh"])
def test_gelu_is_the_one_that_the_model_has(tmp_path, approximate):
    model = nn.Sequential(nn.Linear(8, 8), nn.GELU(approximate=approximate)).eval()
    batch = torch.linspace(-4, 4, 32).reshape(4, 8)
    ExecuTorch().lower(model, batch, FP32, [], tmp_path)
    program = ExecuTorch().load(tmp_path, nn.Identity, FP32, 1)
    with torch.no_grad():
        assert torch.allclose(program.to_tensor(program(program.prepare(batch))), model(batch), atol=1e-6)


@pytest.mark.parametrize(("name", "format_", "precision", "products"), CASES)
def test_outputs_are_the_models_and_products_are_named_with_their_numbers(
    lowered, name, format_, precision, products
):
    model = lowered(name, format_, precision)
    outputs = model.outputs(model.program)
    # XNNPACK adds up fp16 products in fp16: 1e-2 of outputs that are small before training.
    errors = {"fp32": 1e-4, "fp16": 1e-2}
    allowed = Tolerance(cosine=0.98) if format_ else Tolerance(relative_error=errors[precision])
    judged = {
        entry.metric: entry for entry in closeness(outputs, model.expected, allowed, OutputKind("scores"))
    }
    assert judged["valid"].reason == ""
    kernels = model.kernels()
    assert [kernel for kernel in kernels if kernel.startswith(PRODUCTS)] == products
    proved = [kernel for kernel in products if kernel.endswith(" int8")]
    assert kernels_of_format("int8-static", kernels) == kernels_of_format("int8-dynamic", kernels) == proved


def test_fp16_layers_are_normalized_in_fp32(tmp_path):
    # ExecuTorch's own kernel gives what is off by more than the largest output here.
    torch.manual_seed(0)
    layer, states = nn.LayerNorm(384).eval(), torch.randn(4, 8, 384)
    backend, numerics = ExecuTorch(), Numerics(None, "fp16")
    with torch.no_grad():
        expected = layer(states)
    backend.lower(layer, states, numerics, [], tmp_path)
    program = backend.load(tmp_path, lambda: layer, numerics, 1)
    outputs = program.to_tensor(program(program.prepare(states)))
    torch.testing.assert_close(outputs, expected, atol=5e-3, rtol=0)


def test_operators_that_xnnpack_does_not_take_are_named(lowered):
    assert "undelegated embedding" in lowered("encoder").kernels()
    assert not any("undelegated" in kernel for kernel in lowered("cnn").kernels())


def test_int8_files_are_a_quarter_as_large(lowered):
    whole, static = lowered("cnn"), lowered("cnn", "int8-static")
    sizes = [(model.folder / MODEL).stat().st_size for model in (whole, static)]
    assert 0.2 < sizes[1] / sizes[0] < 0.3


def test_a_file_loaded_again_gives_the_same_and_outputs_stay_as_they_were(lowered):
    model = lowered("cnn", "int8-static")
    first = model.outputs(model.program)
    assert torch.equal(model.outputs(model.load()), first)
    kept = model.program.to_tensor(model.program(model.program.prepare(model.batches[0])))
    before = kept.clone()
    model.program(model.program.prepare(model.batches[1]))
    assert torch.equal(kept, before)


def test_a_trace_names_operators_with_their_time_and_opens_in_chrome(lowered, tmp_path):
    model, path = lowered("encoder"), tmp_path / "trace.json"
    operators = model.program.trace([model.program.prepare(batch) for batch in model.batches], 5, path)
    calls = {operator.name: operator.calls for operator in operators}
    assert calls["Method::execute"] == 5
    assert calls["FullyConnected fp32"] == 5 * 6
    assert [entry.self_s for entry in operators] == sorted((o.self_s for o in operators), reverse=True)
    events = json.loads(path.read_text())["traceEvents"]
    whole = sum(event["dur"] for event in events if event["name"] == "Method::execute")
    # XNNPACK's profile has whole microseconds only.
    assert sum(operator.self_s for operator in operators) * 1e6 == pytest.approx(whole, abs=5)


def test_the_pool_has_as_many_threads_as_were_asked_for_and_earlier_programs_run_on_it(lowered):
    from executorch.extension.pybindings import portable_lib

    model = lowered("cnn")
    expected = model.outputs(model.program)
    earlier = []
    for threads in (2, 3, 1):
        program = ExecuTorch().load(model.folder, nn.Identity, FP32, threads)
        assert portable_lib._threadpool_get_thread_count() == threads
        earlier.append(program)
        # On a pool that is gone, one of a few dozen calls would end the process or wait for ever.
        for each in (model.program, *earlier) * 10:
            assert torch.allclose(model.outputs(each), expected, atol=1e-6)


def test_what_cannot_be_lowered_says_why(tmp_path):
    backend, example = ExecuTorch(), torch.randn(1, 4)

    def lower(model: nn.Module, format_: str | None, precision: str) -> None:
        backend.lower(model, example, Numerics(format_, precision), [example], tmp_path)

    given = nn.Identity()
    given.onnx_file = tmp_path / "model.onnx"
    with pytest.raises(CannotApply, match="not ONNX files"):
        lower(given, None, "fp32")
    with pytest.raises(CannotApply, match="only with fp32"):
        lower(nn.Linear(4, 4), "int8-static", "fp16")
    with pytest.raises(CannotApply, match="calibration batch of 2 samples, got 1"):
        backend.lower(
            nn.Linear(4, 4), torch.randn(2, 4), Numerics("int8-static", "fp32"), [example], tmp_path
        )
    with pytest.raises(TechniqueError, match="no kernel for int4-weight"):
        lower(nn.Linear(4, 4), "int4-weight", "fp32")
    with pytest.raises(TechniqueError, match="does not support training"):
        backend.compile_step(given, nn.functional.mse_loss, SimpleNamespace(), "fp32")


@pytest.mark.parametrize(
    ("runtimes", "ours"),
    [
        ("Convolution (NHWC, QC8) DWConv", "Convolution int8"),
        ("Deconvolution (NHWC, F16)", "Convolution fp16"),
        ("Fully Connected (NC, QDU8, F32, QC8W) GEMM", "FullyConnected int8"),
        ("Fully Connected (NC, F32, QC8W) GEMM", "FullyConnected int8-weight"),
        ("Fully Connected (NC, QD8, F32, QB4W) GEMM", "FullyConnected int8 with int4 weights"),
        ("Fully Connected (NC, BF16, F32) GEMM", "FullyConnected bf16"),
        ("Batch Matrix Multiply (NC, F32) GEMM", "MatMul fp32"),
        ("Softmax (NC, F32)", "Softmax (NC, F32)"),
        ("native_call_native_layer_norm.out", "undelegated native_layer_norm"),
        ("DELEGATE_CALL", "DELEGATE_CALL"),
    ],
)
def test_kernels_are_named_as_in_the_other_backends(runtimes, ours):
    assert _kernel_name(runtimes) == ours
