"""The table of backends: hardware and the runtime that executes a model on it."""

from __future__ import annotations

from typing import Any

from techniques.backends.framework_rows import framework_rows
from techniques.backends.row import ELSEWHERE, BackendRow
from techniques.compression.formats import AUTO, BY_PERCENTILE, ENTROPY, MIN_MAX, MSE
from techniques.registry import Registry

__all__ = ["BACKENDS", "ELSEWHERE", "BackendRow"]

BACKENDS: Registry[BackendRow] = Registry("backend", BackendRow, entry_points="bench.backends")

_add = BACKENDS.add

_TRAINING: Any = {
    "defaults": {"channels_last": False, "accumulate": 1, "checkpoint": False},
    "ranges": {"accumulate": "[1, inf)"},
    "training_only": ("accumulate", "checkpoint"),
}

_SEVERAL = ("ddp", "fsdp", "tp")

_FORMATS = ("int8-dynamic", "int8-static", "int8-weight", "int4-weight", "fp8", "sparse-2-4")
_NOT_PACKAGED = "not tested in a package that Inductor compiles; use cuda-eager"
_EAGER_STATIC = "PyTorch's int8 static kernels run only in compiled graphs; use cpu-inductor or onnxruntime"
_RUNTIMES = "pip install 'dl-efficiency-bench[runtimes]'"
_CPU_FP8 = "PyTorch multiplies fp8 in wider floats on a CPU"
_CPU_SPARSE = {"sparse-2-4": "CPUs have no instructions for 2:4 sparse products"}
# PT2E's histogram observer finds the range of least squared error.
_PT2E: Any = {"calibrations": (AUTO, MIN_MAX, MSE), "keeps_layers": True}
_QDQ: Any = {"calibrations": (AUTO, MIN_MAX, BY_PERCENTILE, ENTROPY), "keeps_layers": True}
_WEIGHTS: Any = {"int8-weight": "PyTorch's weight-only kernel", "int4-weight": "PyTorch's weight-only kernel"}
# For fp32 they are plain loops on x86.
_WEIGHTS_IN: Any = {"int8-weight": ("bf16",), "int4-weight": ("bf16",)}

_add(
    "cpu-eager",
    "techniques.backends.eager:cpu",
    export="techniques.backends.exports:eager",
    about="PyTorch, operator by operator, on the CPU",
    parallels=_SEVERAL,
    needs=("torch", "torchao"),
    install="pip install torch torchao",
    lowering_imports=("torchao.quantization",),
    formats={"int8-dynamic": "torchao", **_WEIGHTS},
    no_kernel={"int8-static": _EAGER_STATIC, "fp8": _CPU_FP8, **_CPU_SPARSE},
    keeps_layers=True,
    generates="floats",
    precisions=("fp32", "bf16", "fp16", "fp64"),
    format_precisions={"int8-dynamic": ("fp32", "bf16", "fp16"), **_WEIGHTS_IN},
    trains=True,
    **_TRAINING,
)
_add(
    "cpu-inductor",
    "techniques.backends.inductor:Inductor",
    export="techniques.backends.exports:inductor",
    about="PyTorch compiled ahead of time by Inductor into C++ for the CPU",
    needs=("torch", "torchao"),
    install="pip install torch torchao",
    lowering_imports=(
        "torch._inductor.compile_fx",
        "torch._inductor.package",
        "torchao.quantization.pt2e.quantize_pt2e",
        "torchao.quantization.pt2e.quantizer.x86_inductor_quantizer",
    ),
    running_imports=("torch._inductor.package",),
    formats={"int8-dynamic": "torchao", "int8-static": "PT2E, X86InductorQuantizer", **_WEIGHTS},
    no_kernel={"fp8": _CPU_FP8, **_CPU_SPARSE},
    **_PT2E,
    precisions=("fp32", "bf16", "fp16"),
    format_precisions={"int8-static": ("fp32",), **_WEIGHTS_IN},
    trains=True,
    **_TRAINING,
    check="techniques.backends.hardware:without_cpp_compiler",
)
_add(
    "onnxruntime",
    "techniques.backends.onnx_runtime:OnnxRuntime",
    export="techniques.backends.exports:onnxruntime",
    about="ONNX Runtime's CPU provider",
    needs=("onnxruntime", "onnx", "onnxscript"),
    install="pip install onnxruntime onnx onnxscript",
    lowering_imports=("onnx", "onnxscript.function_libs.torch_lib.ops", "torch.onnx", "torch.export._trace"),
    worker_imports=("onnxruntime",),
    reads_onnx=True,
    formats={
        "int8-dynamic": "onnxruntime.quantization",
        "int8-static": "onnxruntime.quantization, QDQ",
        "int4-weight": "onnxruntime.quantization, MatMulNBits",
    },
    no_kernel={
        "int8-weight": "its int8 weights become floats before each product; use int4-weight",
        "fp8": "its CPU provider does not support it",
        **_CPU_SPARSE,
    },
    **_QDQ,
    precisions=("fp32", "fp64"),
    format_precisions=dict.fromkeys(("int8-dynamic", "int8-static", "int4-weight"), ("fp32",)),
)
_add(
    "executorch",
    "techniques.backends.executorch_runtime:ExecuTorch",
    export="techniques.backends.exports:executorch",
    about="ExecuTorch with XNNPACK on the CPU",
    needs=("executorch", "torchao"),
    install=_RUNTIMES,
    lowering_imports=(
        "executorch.exir",
        "executorch.backends.xnnpack.partition.xnnpack_partitioner",
        "executorch.backends.xnnpack.quantizer.xnnpack_quantizer",
        "torchao.quantization.pt2e.quantize_pt2e",
    ),
    running_imports=("executorch.runtime",),
    formats={"int8-dynamic": "PT2E, XNNPACKQuantizer", "int8-static": "PT2E, XNNPACKQuantizer"},
    no_kernel={
        "int8-weight": "its partitioner takes int8 weights only with int8 activations",
        "int4-weight": "its partitioner takes int4 weights only with int8 activations",
        "fp8": "XNNPACK does not support it",
        **_CPU_SPARSE,
    },
    **_PT2E,
    precisions=("fp32", "fp16"),
    format_precisions={"int8-static": ("fp32",)},
)
_add(
    "openvino",
    "techniques.backends.openvino_runtime:OpenVino",
    export="techniques.backends.exports:openvino",
    about="OpenVINO's CPU plugin",
    needs=("openvino", "nncf"),
    install=_RUNTIMES,
    lowering_imports=("torch.export._trace",),
    worker_imports=("techniques.backends.openvino_runtime",),
    reads_onnx=True,
    formats={
        "int8-static": "NNCF",
        "int8-dynamic": "NNCF weights, activations by the CPU plugin",
        "int8-weight": "NNCF",
        "int4-weight": "NNCF, groups of 32",
    },
    no_kernel={"fp8": "its CPU plugin multiplies fp8 in wider floats", **_CPU_SPARSE},
    calibrations=(AUTO, MIN_MAX, BY_PERCENTILE),
    keeps_layers=True,
    defaults={"sparse_weights": 1.0},
    ranges={"sparse_weights": "[0, 1]"},
    precisions=("fp32", "bf16", "fp16"),
    format_precisions={
        "int8-static": ("fp32",),
        "int8-dynamic": ("fp32", "bf16"),
        "int8-weight": ("fp32", "bf16"),
        "int4-weight": ("fp32", "bf16"),
    },
    check="techniques.backends.hardware:without_whole_cpu",
)
_GENERATION = "pip install 'dl-efficiency-bench[generation]'"
_add(
    "openvino-genai",
    "techniques.backends.openvino_genai:OpenVinoGenai",
    about="OpenVINO GenAI on the CPU: continues texts by continuous batching with a paged cache",
    needs=("openvino_genai", "openvino_tokenizers", "openvino", "nncf"),
    install=_GENERATION,
    worker_imports=("techniques.backends.openvino_genai",),
    formats={"int8-weight": "NNCF"},
    no_kernel={
        "int4-weight": "not tested with its pipeline",
        "int8-static": "not tested with its pipeline",
        "int8-dynamic": "not tested with its pipeline",
        "fp8": "its CPU plugin multiplies fp8 in wider floats",
        **_CPU_SPARSE,
    },
    keeps_layers=True,
    precisions=("fp32", "bf16"),
    generates="any",
    only_generates=True,
    drafts=True,
    check="techniques.backends.hardware:without_whole_cpu",
)
_add(
    "onnxruntime-genai",
    "techniques.backends.onnxruntime_genai:OnnxRuntimeGenai",
    about="ONNX Runtime GenAI on the CPU: continues texts of one length side by side",
    needs=("onnxruntime_genai", "onnxruntime", "onnx", "transformers"),
    install=_GENERATION,
    worker_imports=("onnxruntime_genai",),
    no_kernel=dict.fromkeys(_FORMATS, "its model builder quantizes by itself, which is not tested here"),
    generates="any",
    only_generates=True,
)
_add(
    "inductor-decoder",
    "techniques.backends.inductor_decoder:InductorDecoder",
    about="A decoder and its cache compiled ahead of time by Inductor for the CPU: continues texts",
    needs=("torch", "transformers"),
    install="pip install 'dl-efficiency-bench[workloads]'",
    lowering_imports=("torch._inductor.compile_fx", "torch._inductor.package"),
    running_imports=("torch._inductor.package",),
    no_kernel=dict.fromkeys(_FORMATS, "not tested in a package of a decoder; use openvino-genai"),
    precisions=("fp32", "bf16"),
    generates="any",
    only_generates=True,
    check="techniques.backends.hardware:without_cpp_compiler",
)
_NO_XLA = "no quantizer of PyTorch models for XLA is used here"
_XLA: Any = {
    "needs": ("jax", "torchax", "optax"),
    "no_kernel": dict.fromkeys(_FORMATS, _NO_XLA),
    "trains": True,
    "fork_safe": False,
}
# Without bf16: on a CPU, XLA widens it to fp32 before it multiplies.
_add(
    "cpu-xla",
    "techniques.backends.xla:cpu",
    about="XLA, through JAX and torchax, on the CPU",
    install=_RUNTIMES,
    **_XLA,
)
_add(
    "tpu",
    "techniques.backends.xla:tpu",
    about="XLA, through JAX and torchax, on a Google TPU",
    install="pip install 'jax[tpu]' torchax optax",
    device="tpu",
    precisions=("fp32", "bf16"),
    check="techniques.backends.xla_hardware:without_tpu",
    **_XLA,
)
for _name, _implementation, _traits in framework_rows(_FORMATS):
    _add(_name, _implementation, **_traits)
_add(
    "cuda-eager",
    "techniques.backends.eager:cuda",
    export="techniques.backends.exports:eager",
    about="PyTorch, operator by operator, on an NVIDIA GPU",
    parallels=_SEVERAL,
    needs=("torch", "torchao"),
    install="pip install torch torchao",
    device="cuda",
    formats={
        "int8-dynamic": "torchao",
        "int8-weight": "PyTorch's weight-only kernel",
        "int4-weight": "torchao, tile-packed",
        "fp8": "torchao",
        "sparse-2-4": "PyTorch, cuSPARSELt or CUTLASS",
    },
    no_kernel={"int8-static": "PyTorch has no eager int8 static kernels on CUDA"},
    keeps_layers=True,
    generates="floats",
    precisions=("fp32", "tf32", "bf16", "fp16"),
    format_precisions={
        "int8-dynamic": ("fp32", "bf16", "fp16"),
        "int8-weight": ("fp32",),
        "int4-weight": ("bf16",),
        "fp8": ("fp32", "bf16", "fp16"),
        "sparse-2-4": ("bf16", "fp16"),
    },
    trains=True,
    **_TRAINING,
    fork_safe=False,
    check="techniques.backends.hardware:without_cuda",
)
_add(
    "cuda-inductor",
    "techniques.backends.cuda_inductor:CudaInductor",
    export="techniques.backends.exports:inductor",
    about="PyTorch compiled ahead of time by Inductor into Triton kernels for an NVIDIA GPU",
    needs=("torch", "torchao", "triton"),
    install="pip install torch torchao",
    device="cuda",
    formats={"int8-dynamic": "torchao"},
    keeps_layers=True,
    no_kernel={
        "int8-static": "the PT2E quantizer used here is for x86 CPUs",
        **dict.fromkeys(("int8-weight", "int4-weight", "fp8", "sparse-2-4"), _NOT_PACKAGED),
    },
    precisions=("fp32", "tf32", "bf16", "fp16"),
    trains=True,
    **_TRAINING,
    fork_safe=False,
    check="techniques.backends.hardware:without_cuda_compiler",
)
_add(
    "cuda-graphs",
    "techniques.backends.cuda_graphs:CudaGraphs",
    about="Eager PyTorch recorded once as a CUDA graph and replayed, on an NVIDIA GPU",
    needs=("torch", "torchao"),
    install="pip install torch torchao",
    device="cuda",
    no_kernel={
        "int8-static": "PyTorch has no eager int8 static kernels on CUDA",
        **dict.fromkeys(
            ("int8-dynamic", "int8-weight", "int4-weight", "fp8", "sparse-2-4"),
            "not tested in a graph; use cuda-eager",
        ),
    },
    precisions=("fp32", "tf32", "bf16", "fp16"),
    defaults={"channels_last": False},
    fork_safe=False,
    check="techniques.backends.hardware:without_cuda",
)
_add(
    "tensorrt",
    "techniques.backends.tensorrt:TensorRt",
    about="TensorRT engines, built ahead of time for an NVIDIA GPU",
    needs=("torch", "tensorrt", "onnx", "onnxruntime", "onnxscript"),
    install="pip install torch tensorrt onnx onnxruntime onnxscript",
    device="cuda",
    reads_onnx=True,
    formats={"int8-static": "onnxruntime.quantization, symmetric QDQ"},
    no_kernel={
        "int8-dynamic": "its scales must be known when an engine is built",
        **dict.fromkeys(
            ("int8-weight", "int4-weight", "fp8"), "no quantizer used here writes it for TensorRT"
        ),
        "sparse-2-4": "no engine here is built with sparse weights",
    },
    **_QDQ,
    precisions=("fp32", "tf32", "bf16", "fp16"),
    fork_safe=False,
    check="techniques.backends.hardware:without_tensorrt",
)
_add(
    "cuda-inductor-decoder",
    "techniques.backends.inductor_decoder:CudaInductorDecoder",
    about="A decoder and its cache compiled ahead of time by Inductor for an NVIDIA GPU: continues texts",
    needs=("torch", "transformers", "triton"),
    install="pip install 'dl-efficiency-bench[workloads]'",
    device="cuda",
    no_kernel=dict.fromkeys(_FORMATS, "not tested in a package of a decoder"),
    precisions=("fp32", "tf32", "bf16", "fp16"),
    generates="any",
    only_generates=True,
    fork_safe=False,
    check="techniques.backends.hardware:without_cuda_compiler",
)
_add(
    "vllm",
    "techniques.backends.vllm_engine:Vllm",
    about="vLLM on an NVIDIA GPU: continues texts by continuous batching with a paged cache",
    needs=("vllm", "transformers"),
    install="pip install vllm",
    device="cuda",
    no_kernel=dict.fromkeys(_FORMATS, "its own quantized weights are not written here"),
    precisions=("fp32", "bf16", "fp16"),
    generates="any",
    only_generates=True,
    drafts=True,
    fork_safe=False,
    check="techniques.backends.hardware:without_cuda",
)
_UNPROVED = dict.fromkeys(_FORMATS, "its kernels have not been tested on this hardware")
_add(
    "rocm",
    "techniques.backends.eager:rocm",
    export="techniques.backends.exports:eager",
    about="PyTorch, operator by operator, on an AMD GPU",
    needs=("torch",),
    install="pip install torch --index-url https://download.pytorch.org/whl/rocm7.1",
    device="rocm",
    no_kernel=_UNPROVED,
    precisions=("fp32", "bf16", "fp16"),
    trains=True,
    **_TRAINING,
    fork_safe=False,
    check="techniques.backends.hardware:without_rocm",
)
_add(
    "mps",
    "techniques.backends.eager:mps",
    export="techniques.backends.exports:eager",
    about="PyTorch, operator by operator, on an Apple GPU (macOS: not supported yet)",
    needs=("torch",),
    install="pip install torch",
    device="mps",
    no_kernel=_UNPROVED,
    precisions=("fp32", "bf16", "fp16"),
    trains=True,
    **_TRAINING,
    fork_safe=False,
    check="techniques.backends.hardware:without_mps",
)
_add(
    "xpu",
    "techniques.backends.eager:xpu",
    export="techniques.backends.exports:eager",
    about="PyTorch, operator by operator, on an Intel GPU",
    needs=("torch",),
    install="pip install torch --index-url https://download.pytorch.org/whl/xpu",
    device="xpu",
    no_kernel=_UNPROVED,
    precisions=("fp32", "bf16", "fp16"),
    trains=True,
    **_TRAINING,
    fork_safe=False,
    check="techniques.backends.hardware:without_xpu",
)
