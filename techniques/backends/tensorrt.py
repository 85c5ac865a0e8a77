"""TensorRT on an NVIDIA GPU: an engine built ahead for one shape, fed from the GPU's own memory.

Through TensorRT's own Python API. ONNX Runtime's provider builds the same engines, but from a package that
takes the place of the CPU's `onnxruntime`, and it cannot keep fp32 from being multiplied as TF32.
"""

from __future__ import annotations

import itertools
import json
import re
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from techniques.backends.accelerators import synchronize
from techniques.backends.onnx_file import fix_batch, given_file, quantize_qdq, write_onnx
from techniques.backends.protocol import Numerics, Program, ServesOnly
from techniques.backends.tracing import OperatorTime, trace_torch
from techniques.numbers import in_precision, refuse_complex
from techniques.outputs import compared
from techniques.registry import CannotApply, TechniqueError

ENGINE = "model.engine"

_DTYPES = {
    **{"FLOAT": torch.float32, "HALF": torch.float16, "BF16": torch.bfloat16},
    **{"INT64": torch.int64, "INT32": torch.int32, "INT8": torch.int8, "BOOL": torch.bool},
}


@dataclass(frozen=True)
class EngineProgram(Program):
    """An engine with buffers for its outputs on the GPU; the next call overwrites them.

    It runs on a stream of its own: on the default one TensorRT waits more than it has to, says what documents
    `execute_async_v3`.
    """

    engine: Any
    context: Any
    stream: Any
    input: str
    outputs: Mapping[str, torch.Tensor]
    dtype: torch.dtype
    device: torch.device

    def prepare(self, batch: torch.Tensor) -> torch.Tensor:
        """Return the batch on the GPU, in the engine's precision, once it is there."""
        prepared = in_precision(batch, self.dtype).to(self.device).contiguous()
        synchronize(self.device)  # the engine's stream does not wait for the copy's
        return prepared

    def __call__(self, prepared: torch.Tensor) -> Any:
        self.context.set_tensor_address(self.input, prepared.data_ptr())
        if not self.context.execute_async_v3(self.stream.cuda_stream):
            raise RuntimeError("TensorRT could not start the engine; its log says why")
        return list(self.outputs.values())

    def to_tensors(self, output: Any) -> tuple[torch.Tensor, ...]:
        """Wait for the engine's stream; return outputs as CPU tensors, none of fewer than 32 bits."""
        self.stream.synchronize()
        return compared(output)

    def kernels(self, prepared: torch.Tensor) -> list[str]:
        """Return the engine's products and kernels; see `kernels_of_engine`."""
        from tensorrt import LayerInformationFormat

        inspector = self.engine.create_engine_inspector()
        return kernels_of_engine(inspector.get_engine_information(LayerInformationFormat.JSON))

    def trace(self, prepared: Sequence[torch.Tensor], calls: int, path: Path) -> list[OperatorTime]:
        """Run under PyTorch's profiler; see `trace_torch`."""
        turn = itertools.cycle(prepared)
        return trace_torch(lambda: self(next(turn)), calls, path)


class TensorRt(ServesOnly):
    """TensorRT's engines; the model comes as ONNX, in the precision that it is to compute in."""

    device = torch.device("cuda")

    def lower(
        self,
        model: torch.nn.Module,
        example: torch.Tensor,
        numerics: Numerics,
        calibration: Iterable[torch.Tensor],
        folder: Path,
    ) -> None:
        """Write an engine for this GPU; raises as `export`, `quantize` and `build_engine` do."""
        with tempfile.TemporaryDirectory() as scratch:
            path = Path(scratch, "model.onnx")
            export(model, example, numerics, path)
            if numerics.format is not None:
                quantize(path, numerics, calibration, len(example))
            engine = build_engine(path, allow_tf32=numerics.precision == "tf32")
            (folder / ENGINE).write_bytes(engine)

    def load(
        self, folder: Path, build: Callable[[], torch.nn.Module], numerics: Numerics, threads: int
    ) -> Program:
        """Read the engine; raises RuntimeError where another version or another GPU built it."""
        import tensorrt

        runtime = tensorrt.Runtime(tensorrt.Logger(tensorrt.Logger.WARNING))
        engine = runtime.deserialize_cuda_engine((folder / ENGINE).read_bytes())
        if engine is None:
            raise RuntimeError(
                "TensorRT cannot read its engine: was it built by another version or for another GPU?"
            )
        context = engine.create_execution_context()
        # Engines are built with all detail, for `kernels`; told to the profiler it would slow each call.
        context.nvtx_verbosity = tensorrt.ProfilingVerbosity.NONE
        input_, outputs = bind_outputs(engine, context, self.device)
        stream = torch.cuda.Stream(self.device)
        return EngineProgram(engine, context, stream, input_, outputs, numerics.dtype, self.device)

    def synchronize(self) -> None:
        """Wait until the GPU has finished its queue."""
        synchronize(self.device)


def export(model: torch.nn.Module, example: torch.Tensor, numerics: Numerics, path: Path) -> None:
    """Write a model on the CPU as ONNX, in its precision and at the shape of `example`.

    Raises CannotApply for complex weights and for an ONNX file in another precision than fp32,
    TechniqueError for what cannot be exported.
    """
    is_given = given_file(model) is not None
    if not is_given:
        refuse_complex(model, "TensorRT")
    elif numerics.dtype != torch.float32:
        raise CannotApply(
            f"an ONNX file keeps its own precision; it is not converted to {numerics.precision}"
        )
    write_onnx(model, example, path, numerics.dtype)
    if is_given:
        fix_batch(path, example.shape)


def quantize(path: Path, numerics: Numerics, calibration: Iterable[torch.Tensor], batch_size: int) -> None:
    """Give the products of an fp32 ONNX file int8 inputs and weights, with scales from calibration batches.

    TensorRT multiplies int8 where both are quantized without an offset, weights per output channel, and takes
    no quantized bias ("Explicit Quantization", in its documentation). Raises TechniqueError for other formats
    than int8-static, CannotApply for other precisions than fp32.
    """
    from onnxruntime.quantization import QuantType

    if numerics.format != "int8-static":
        raise TechniqueError(f"TensorRT has no kernel for {numerics.format}")
    if numerics.dtype != torch.float32:
        raise CannotApply(f"int8-static is quantized from fp32, not from {numerics.precision}")
    quantize_qdq(
        path,
        calibration,
        batch_size,
        numerics,
        op_types_to_quantize=["Conv", "Gemm", "MatMul"],
        activation_type=QuantType.QInt8,
        extra_options={"ActivationSymmetric": True, "QuantizeBias": False, "AddQDQPairToWeight": True},
    )


def build_engine(model: Path, *, allow_tf32: bool) -> bytes:
    """Return the engine of an ONNX file, for this GPU, that computes in the file's own numbers.

    Raises CannotApply with TensorRT's reason where it cannot read the file, RuntimeError where it builds no
    engine.
    """
    import tensorrt

    logger = tensorrt.Logger(tensorrt.Logger.WARNING)
    builder = tensorrt.Builder(logger)
    # Without the flag TensorRT 10 chooses numbers by itself; 11 has no other way.
    network = builder.create_network(1 << int(tensorrt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = tensorrt.OnnxParser(network, logger)
    if not parser.parse_from_file(str(model)):
        raise CannotApply(f"TensorRT cannot read the model: {parser.get_error(0).desc()}")
    config = builder.create_builder_config()
    config.profiling_verbosity = tensorrt.ProfilingVerbosity.DETAILED
    if not allow_tf32:  # which is TensorRT's default
        config.clear_flag(tensorrt.BuilderFlag.TF32)
    engine = builder.build_serialized_network(network, config)
    if engine is None:
        raise RuntimeError("TensorRT built no engine; its log says why")
    return bytes(engine)


def bind_outputs(engine: Any, context: Any, device: torch.device) -> tuple[str, dict[str, torch.Tensor]]:
    """Return the name of an engine's input, and its outputs as buffers that the context writes to."""
    input_, outputs = "", {}
    for name in map(engine.get_tensor_name, range(engine.num_io_tensors)):
        if engine.get_tensor_mode(name).name == "INPUT":
            input_ = name
            continue
        dtype = _DTYPES[engine.get_tensor_dtype(name).name]
        outputs[name] = torch.empty(tuple(engine.get_tensor_shape(name)), dtype=dtype, device=device)
        context.set_tensor_address(name, outputs[name].data_ptr())
    return input_, outputs


# What tells in the name of a kernel (`sm80_xmma_fprop_implicit_gemm_f32f32_tf32f32_f32_...`) or of a type
# (`Half`, `Row major linear FP32`). The first that is found: outputs may be wider than what is multiplied.
_NUMBERS = {
    "fp8": re.compile(r"e4m3|fp8"),
    "int8": re.compile(r"int8|_i8|_s8_"),
    "tf32": re.compile(r"tf32"),
    "bf16": re.compile(r"bf16|bfloat"),
    "fp16": re.compile(r"f16|fp16|half|h884|h1688"),
    "fp32": re.compile(r"f32|fp32|float|sgemm|scudnn"),
}
_PRODUCTS = {
    "Convolution": re.compile(r"conv|fprop|correlation"),
    "MatMul": re.compile(r"gemm|matmul|matrix_?multiply|fully_?connected"),
}


def kernels_of_engine(information: str) -> list[str]:
    """Return the products in an engine, with the numbers that they multiply, and the kernels by name.

    From the JSON of TensorRT's engine inspector, versions 10 and 11.
    """
    layers = [layer for layer in json.loads(information)["Layers"] if isinstance(layer, dict)]
    kernels = {str(layer["TacticName"]) for layer in layers if layer.get("TacticName")}
    return sorted(kernels | {product for layer in layers if (product := _product(layer))})


def _product(layer: Mapping[str, Any]) -> str:
    kernel = str(layer.get("TacticName", "")).lower()
    kinds = " ".join(str(layer.get(key, "")) for key in ("LayerType", "ParameterType")).lower()
    product = next((name for name, known in _PRODUCTS.items() if known.search(f"{kinds} {kernel}")), "")
    number = _number(kernel) or _number(_type_of_input(layer))
    return f"{product} {number}".strip() if product else ""


def _number(text: str) -> str:
    return next((name for name, known in _NUMBERS.items() if known.search(text)), "")


def _type_of_input(layer: Mapping[str, Any]) -> str:
    first: Mapping[str, Any] = next(iter(layer.get("Inputs", ())), {})
    return " ".join(str(value) for key, value in first.items() if re.search("type|format", key, re.I)).lower()
