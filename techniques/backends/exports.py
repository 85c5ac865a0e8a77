"""What runs a lowered model without this suite: its file, and the few lines that load and call it.

A row of the table of backends names one of these functions as its `export`.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors.torch import save_file

from techniques.backends.protocol import Numerics, Program, TorchProgram
from techniques.outputs import as_graph, widened
from techniques.registry import CannotApply, TechniqueError

if TYPE_CHECKING:
    from torch.export.graph_signature import InputSpec

CODE, WEIGHTS, PROGRAM = "model.py", "weights.safetensors", "model.pt2"


@dataclass(frozen=True)
class Lowered:
    """A lowered model: its folder, its program as loaded, and a prepared batch of the shape that it takes."""

    folder: Path
    program: Program
    prepared: Any
    numerics: Numerics
    threads: int


@dataclass(frozen=True)
class Export:
    """What `write` has written: the files, what to install, and the script's own lines.

    `imports` are the script's import lines. `lines` turn `batch`, an array of NumPy, into `outputs`, a list
    of arrays; `here` is the folder of the files. `note` says what else a reader of the card should know.
    """

    files: tuple[str, ...]
    packages: tuple[str, ...]
    imports: tuple[str, ...]
    lines: tuple[str, ...]
    note: str = ""


_CHANNELS_LAST = ".to(memory_format=torch.channels_last)"
_AS_LIST = "found = found if isinstance(found, (list, tuple)) else [found]"
_AS_ARRAYS = "outputs = [output.float().cpu().numpy() if output.is_floating_point() else output.cpu().numpy()"


def onnxruntime(lowered: Lowered, to: Path) -> Export:
    """Copy the ONNX file; a session with as many threads as the benchmark's runs it."""
    return Export(
        _copied(lowered.folder, to, "model.onnx"),
        ("onnxruntime",),
        ("import onnxruntime",),
        (
            "options = onnxruntime.SessionOptions()",
            f"options.intra_op_num_threads, options.inter_op_num_threads = {lowered.threads}, 1",
            'cpu = ["CPUExecutionProvider"]',
            'session = onnxruntime.InferenceSession(str(here / "model.onnx"), options, providers=cpu)',
            "outputs = session.run(None, {session.get_inputs()[0].name: batch})",
        ),
    )


def openvino(lowered: Lowered, to: Path) -> Export:
    """Copy the IR; it is compiled for the CPU with the properties of the benchmark."""
    program: Any = lowered.program
    config = dict(program.config)
    return Export(
        _copied(lowered.folder, to, "model.xml", "model.bin"),
        ("openvino",),
        ("import openvino",),
        (
            f"config = {json.dumps(config)}",
            'model = openvino.Core().compile_model(str(here / "model.xml"), "CPU", config)',
            "found = model(batch)",
            "outputs = [found[port] for port in model.outputs]",
        ),
    )


def executorch(lowered: Lowered, to: Path) -> Export:
    """Copy the .pte file."""
    return Export(
        _copied(lowered.folder, to, "model.pte"),
        ("executorch",),
        ("import torch", "from executorch.runtime import Runtime"),
        (
            'program = Runtime.get().load_program(here / "model.pte")',
            'method = program.load_method("forward")',
            f"found = method.execute([{_tensor(lowered, torch.device('cpu'))}])",
            f"{_AS_ARRAYS} for output in found]",
        ),
    )


def inductor(lowered: Lowered, to: Path) -> Export:
    """Copy the package that Inductor compiled, for this kind of processor or GPU."""
    return Export(
        _copied(lowered.folder, to, PROGRAM),
        ("torch",),
        ("import torch", "import torch._inductor"),
        (
            f"torch.set_num_threads({lowered.threads})",
            f'model = torch._inductor.aoti_load_package(str(here / "{PROGRAM}"))',
            "with torch.inference_mode():",
            f"    found = model({_tensor(lowered, _device(lowered))})",
            _AS_LIST,
            f"{_AS_ARRAYS} for output in found]",
        ),
        "The package is compiled for the instructions of the machine that made it.",
    )


def eager(lowered: Lowered, to: Path) -> Export:
    """Write the model's operators as plain code of PyTorch, and its weights as safetensors.

    The operators are those that `torch.export` traces at the shape of the batch. A model whose graph is more
    than a list of operators becomes a program of `torch.export` instead.
    """
    program, prepared = lowered.program, lowered.prepared
    if not isinstance(program, TorchProgram) or not isinstance(program.run, torch.nn.Module):
        raise CannotApply("only a module of PyTorch can be exported as code")
    exported = _exported(program.run, prepared)
    try:
        code, tensors = _as_code(exported)
    except _NotCode as reason:
        loading = _program_file(exported, to, str(reason))
    else:
        (to / CODE).write_text(code)
        save_file(tensors, to / WEIGHTS)
        loading = _code_and_weights(program.device)
    own = "torch.ops.torchao" in str(exported.graph)
    return Export(
        loading.files,
        (*loading.packages, *(["torchao"] if own else [])),
        (*loading.imports, *(["import torchao.quantization"] if own else [])),
        (
            f"torch.set_num_threads({lowered.threads})",
            *_fp32_arithmetic(lowered),
            loading.line,
            "with torch.inference_mode():",
            f"    found = {loading.call.format(_tensor(lowered, program.device))}",
            _AS_LIST,
            f"{_AS_ARRAYS} for output in found]",
        ),
        loading.note,
    )


@dataclass(frozen=True)
class _Loading:
    """How a script loads a model of PyTorch, by one line, and calls it: `call` has a place for the batch."""

    files: tuple[str, ...]
    packages: tuple[str, ...]
    imports: tuple[str, ...]
    line: str
    call: str
    note: str = ""


def _code_and_weights(device: torch.device) -> _Loading:
    weights = f'load_file(here / "{WEIGHTS}", device="{device}")'
    return _Loading(
        (CODE, WEIGHTS),
        ("torch", "safetensors"),
        ("import runpy", "import torch", "from safetensors.torch import load_file"),
        f'model, weights = runpy.run_path(str(here / "{CODE}"))["model"], {weights}',
        "model(weights, {})",
    )


def _program_file(exported: torch.export.ExportedProgram, to: Path, reason: str) -> _Loading:
    """Write a program of torch.export, where a graph is no plain code for that reason."""
    torch.export.save(exported, to / PROGRAM)
    return _Loading(
        (PROGRAM,),
        ("torch",),
        ("import torch",),
        f'model = torch.export.load(str(here / "{PROGRAM}")).module()',
        "model({})",
        f"The graph is a program of torch.export: as plain code, {reason}.",
    )


def array_of(prepared: Any) -> np.ndarray:
    """Return a prepared batch as an array of NumPy, floats of 16 bits that it lacks in 32."""
    if isinstance(prepared, dict):
        prepared = next(iter(prepared.values()))
    elif isinstance(prepared, list):
        prepared = prepared[0]
    if isinstance(prepared, torch.Tensor):
        return widened(prepared).cpu().contiguous().numpy()
    return np.ascontiguousarray(prepared if isinstance(prepared, np.ndarray) else prepared.data)


def _copied(folder: Path, to: Path, *names: str) -> tuple[str, ...]:
    """Copy files of an artifact, which must not be changed through a link."""
    for name in names:
        shutil.copyfile(folder / name, to / name)
    return names


def _device(lowered: Lowered) -> torch.device:
    program = lowered.program
    return program.device if isinstance(program, TorchProgram) else torch.device("cpu")


def _tensor(lowered: Lowered, device: torch.device) -> str:
    """Return the expression that makes the model's input of the array `batch`."""
    prepared = lowered.prepared[0] if isinstance(lowered.prepared, list) else lowered.prepared
    made = "torch.from_numpy(batch)"
    if prepared.is_floating_point() and prepared.dtype != torch.float32:
        made += f".to({prepared.dtype})"
    if getattr(lowered.program, "channels_last", False) and prepared.dim() == 4:
        made += _CHANNELS_LAST
    return made if device.type == "cpu" else f'{made}.to("{device}")'


def _fp32_arithmetic(lowered: Lowered) -> tuple[str, ...]:
    """Return the line that makes an NVIDIA GPU multiply fp32 as in the benchmark."""
    if _device(lowered).type != "cuda":
        return ()
    allowed = lowered.numerics.precision == "tf32"
    return (f"torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = {allowed}",)


def _exported(model: torch.nn.Module, prepared: torch.Tensor) -> torch.export.ExportedProgram:
    """Trace a model at the shape of a batch; weights in a format of their own become plain tensors.

    The model is changed: it is not to be used any more.
    """
    from torchao.utils import unwrap_tensor_subclass

    with torch.no_grad():
        model = as_graph(unwrap_tensor_subclass(model.eval()), prepared)
        try:
            exported = torch.export.export(model, (prepared,))
        except Exception as error:
            first = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise TechniqueError(f"the model cannot be traced: {first[:200]}") from error
        packed = any(hasattr(tensor, "__tensor_flatten__") for tensor in exported.state_dict.values())
        return exported.run_decompositions({}) if packed else exported  # which takes packed weights apart


class _NotCode(Exception):
    """Why a graph can't be written as plain code."""


_GLOBALS = {"torch", "device", "inf", "nan", "NoneType", "fx_pytree", "pytree"}
"""What fx writes into code as if it were built in."""


def _as_code(exported: torch.export.ExportedProgram) -> tuple[str, dict[str, torch.Tensor]]:
    """Return a module with `model(weights, batch)`, and the weights by their names in it.

    Raises _NotCode for a graph with parts that are no operators of PyTorch.
    """
    if any(node.op == "get_attr" for node in exported.graph.nodes):
        raise _NotCode("its control flow has graphs of their own")
    written = exported.graph.python_code(root_module="self")
    unknown = written.globals.keys() - _GLOBALS
    if unknown:
        raise _NotCode(f"it refers to {sorted(unknown)[0]}")
    tensors, arguments = _weights(exported)
    kinds = [spec.kind.name for spec in exported.graph_signature.output_specs]
    wanted = [number for number, kind in enumerate(kinds) if kind == "USER_OUTPUT"]
    lines = [
        '"""The operators of the model, as torch.export traced them."""',
        "",
        "from math import inf, nan",
        "",
        "import torch",
        "from torch import device",
        "",
        "",
        written.src.strip().replace("def forward(", "def _forward("),
        "",
        "def model(weights, batch):",
        '    """Return the list of outputs; `weights` are the tensors of weights.safetensors by name."""',
        f"    found = _forward(None, {', '.join(arguments)})",
        f"    return [found[number] for number in {wanted}]",
        "",
    ]
    return "\n".join(lines), tensors


def _weights(exported: torch.export.ExportedProgram) -> tuple[dict[str, torch.Tensor], list[str]]:
    """Return the tensors that a graph takes beside its input, and the arguments of its call in their order.

    A tensor that several names stand for is kept once. Safetensors keep no layout, so the call restores it.
    """
    tensors: dict[str, torch.Tensor] = {}
    names: dict[tuple[Any, ...], str] = {}
    arguments = []
    for spec, tensor in _inputs(exported):
        if tensor is None:
            arguments.append("batch")
            continue
        name = str(spec.arg.name)
        place = (tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype)
        name = names.setdefault(place, name) if tensor.numel() else name
        tensors[name] = tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
        arguments.append(f'weights["{name}"]{"" if tensor.is_contiguous() else _CHANNELS_LAST}')
    return tensors, arguments


def _inputs(
    exported: torch.export.ExportedProgram,
) -> Iterable[tuple[InputSpec, torch.Tensor | None]]:
    """Yield each input of a graph with its tensor, None for the batch."""

    def found() -> Iterator[tuple[InputSpec, torch.Tensor | None]]:
        for spec in exported.graph_signature.input_specs:
            if spec.kind.name == "USER_INPUT":
                yield spec, None
                continue
            name = str(spec.target)
            tensor = exported.state_dict.get(name, exported.constants.get(name))
            if not isinstance(tensor, torch.Tensor):
                raise _NotCode(f"{name} is no tensor")
            yield spec, tensor

    return found()
