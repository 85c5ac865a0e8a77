"""XLA through JAX and torchax: PyTorch's code traced once, compiled by XLA for a TPU, or for the CPU.

Tensors of PyTorch stay on the CPU and are copied to the device batch by batch.
"""

from __future__ import annotations

import gzip
import itertools
import json
import re
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.export
import torch
from safetensors.torch import load_file, save_file

from techniques.backends.onnx_file import given_file
from techniques.backends.protocol import Numerics, Program
from techniques.backends.tracing import OperatorTime, slowest_first
from techniques.backends.training import Loss, TrainingStep
from techniques.backends.xla_compat import call, environment, start, to_device, to_torch, tracing
from techniques.backends.xla_training import XlaTrainingStep
from techniques.numbers import in_numbers, in_precision, refuse_complex
from techniques.optimizers import OptimizerRow
from techniques.outputs import as_graph, compared
from techniques.regime import PLAIN, Regime
from techniques.registry import CannotApply, Technique, TechniqueError

PROGRAM = "model.stablehlo"
WEIGHTS = "weights.safetensors"


class Latest:
    """The newest output of a device, which runs its programs in turn: when it is there, so are the others."""

    output: Any = None

    def wait(self) -> None:
        """Wait for it."""
        jax.block_until_ready(self.output)
        self.output = None


class Xla:
    """One of JAX's platforms. The lowered file is StableHLO, as `jax.export` writes it, and the weights.

    Loading compiles it. In fp32 products are computed in full, on a TPU too, where JAX's default is bf16.
    """

    device = torch.device("cpu")

    def __init__(self, platform: str) -> None:
        self.platform = platform
        self._latest = Latest()

    def lower(
        self,
        model: torch.nn.Module,
        example: torch.Tensor,
        numerics: Numerics,
        calibration: Iterable[torch.Tensor],
        folder: Path,
    ) -> None:
        """Write StableHLO (`jax.export`) for this platform, and the weights as safetensors.

        Raises CannotApply for ONNX files, complex weights and code that torchax cannot trace, TechniqueError
        for any format.
        """
        if given_file(model) is not None:
            raise CannotApply("XLA compiles PyTorch code; an ONNX file is unsupported")
        if numerics.format is not None:
            raise TechniqueError(f"XLA has no kernel for {numerics.format}")
        device, env = start(self.platform, torch.get_num_threads()), environment()
        refuse_complex(model, "XLA")
        example = in_precision(example, numerics.dtype)
        model = as_graph(in_numbers(model, numerics.dtype), example)
        tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}

        def forward(weights: dict[str, jax.Array], batch: jax.Array) -> Any:
            with tracing(env, numerics.precision):
                outputs = call(env, model, env.j2t_iso(weights), batch)
                arrays: Any = env.t2j_iso(outputs)
            return arrays

        weights = {name: to_device(tensor, device) for name, tensor in tensors.items()}
        batch = to_device(example, device)
        exported = jax.export.export(jax.jit(forward), platforms=[self.platform])(weights, batch)
        (folder / PROGRAM).write_bytes(exported.serialize())
        save_file(
            {name: tensor.detach().clone().contiguous() for name, tensor in tensors.items()}, folder / WEIGHTS
        )

    def load(
        self, folder: Path, build: Callable[[], torch.nn.Module], numerics: Numerics, threads: int
    ) -> Program:
        """Compile the program for this device and copy its weights there."""
        device = start(self.platform, threads)
        exported = jax.export.deserialize(bytearray((folder / PROGRAM).read_bytes()))
        shapes = [jax.ShapeDtypeStruct(value.shape, value.dtype) for value in exported.in_avals]
        arguments, _ = jax.tree.unflatten(exported.in_tree, shapes)
        weights = {name: to_device(value, device) for name, value in load_file(folder / WEIGHTS).items()}
        compiled = jax.jit(exported.call).lower(*arguments).compile()
        return XlaProgram(compiled, weights, device, numerics.dtype, self._latest)

    def compile_step(
        self,
        model: torch.nn.Module,
        loss: Loss,
        optimizer: Technique[OptimizerRow],
        precision: str,
        regime: Regime = PLAIN,
    ) -> TrainingStep:
        """Return a step as one program of XLA; raises CannotApply as `XlaTrainingStep` does."""
        device = start(self.platform, torch.get_num_threads())
        return XlaTrainingStep(model, loss, optimizer, precision, device, regime)

    def synchronize(self) -> None:
        """Wait for the program's newest output."""
        self._latest.wait()


def cpu() -> Xla:
    """Return XLA on the CPU."""
    return Xla("cpu")


def tpu() -> Xla:
    """Return XLA on the first TPU."""
    return Xla("tpu")


@dataclass(frozen=True)
class XlaProgram(Program):
    """A compiled program with its weights on the device. `latest` is what the backend waits for."""

    compiled: jax.stages.Compiled
    weights: dict[str, jax.Array]
    device: jax.Device
    dtype: torch.dtype
    latest: Latest

    def prepare(self, batch: torch.Tensor) -> jax.Array:
        """Return the batch on the device, in the program's precision; 64-bit integers become 32-bit."""
        return to_device(in_precision(batch, self.dtype), self.device)

    def __call__(self, prepared: jax.Array) -> Any:
        output: Any = self.compiled(self.weights, prepared)
        self.latest.output = output
        return output

    def to_tensors(self, output: Any) -> tuple[torch.Tensor, ...]:
        """Wait for outputs; return them as CPU tensors, none of fewer than 32 bits."""
        return compared([to_torch(array) for array in jax.tree.leaves(output)])

    def kernels(self, prepared: jax.Array) -> list[str]:
        """Return the products in the compiled program; see `kernels_of_hlo`."""
        return kernels_of_hlo(self.compiled.as_text() or "")

    def trace(self, prepared: Sequence[jax.Array], calls: int, path: Path) -> list[OperatorTime]:
        """Run under JAX's profiler, without Python's calls; see `operators_of_trace`."""
        options: Any = jax.profiler.ProfileOptions()
        options.python_tracer_level = 0
        turn = itertools.cycle(prepared)
        with tempfile.TemporaryDirectory() as folder:
            with jax.profiler.trace(folder, profiler_options=options):
                for _ in range(calls):
                    self(next(turn))
                self.latest.wait()
            (packed,) = Path(folder).rglob("*.trace.json.gz")
            path.write_bytes(gzip.decompress(packed.read_bytes()))
        return operators_of_trace(json.loads(path.read_text())["traceEvents"])


_INSTRUCTION = re.compile(
    r"^\s*(?:ROOT )?%(?P<name>[\w.-]+) = \(?(?P<number>\w+)\[.*? (?P<kind>[a-z][\w-]*)\((?P<operands>.*)"
)
_PRODUCTS = {"convolution": "Convolution", "dot": "MatMul"}
_LIBRARY = re.compile(r'custom_call_target="([^"]+)"|"fusion_config":\{"kind":"(\w+)"')
_NUMBERS = {"f32": "fp32", "f64": "fp64", "f16": "fp16", "s8": "int8", "u8": "uint8"}


def kernels_of_hlo(text: str) -> list[str]:
    """Return the products of a program as XLA optimized it, with what they multiply, and what libraries run.

    A TPU's compiler writes products of matrices as convolutions; their origin is in their metadata.
    """
    numbers, found = {}, set()
    for line in text.splitlines():
        instruction = _INSTRUCTION.match(line)
        if instruction is None:
            continue
        numbers[instruction["name"]] = instruction["number"]
        if product := _PRODUCTS.get(instruction["kind"]):
            product = "MatMul" if "/dot_general" in line else product
            first = re.search(r"%([\w.-]+)", instruction["operands"])
            number = numbers.get(first[1], "") if first else ""
            found.add(f"{product} {_NUMBERS.get(number, number)}".rstrip())
        found.update(target or fusion for target, fusion in _LIBRARY.findall(line))
    return sorted(found)


def operators_of_trace(events: Iterable[dict[str, Any]]) -> list[OperatorTime]:
    """Add up the instructions of HLO in a trace, slowest first; what they call within is not theirs."""
    times: defaultdict[str, list[float]] = defaultdict(list)
    open_: dict[Any, list[tuple[float, str]]] = defaultdict(list)
    ran = [event for event in events if "hlo_op" in event.get("args", {})]
    for event in sorted(ran, key=lambda event: (event["ts"], -event["dur"])):
        name, around = str(event["name"]), open_[event["tid"]]
        while around and around[-1][0] <= event["ts"]:
            around.pop()
        if around:
            times[around[-1][1]][-1] -= event["dur"] / 1e6
        times[name].append(event["dur"] / 1e6)
        around.append((event["ts"] + event["dur"], name))
    return slowest_first(OperatorTime(name, len(own), sum(own)) for name, own in times.items())
