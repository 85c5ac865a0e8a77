"""The interface of a backend: the primitives that differ between runtimes, and nothing else."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch

from techniques.backends.kernels import kernels_of_call, kernels_of_package
from techniques.backends.numerics import Numerics as Numerics
from techniques.backends.tracing import OperatorTime, trace_torch
from techniques.backends.training import Loss, TrainingStep, laid_out, same_numbers
from techniques.numbers import in_precision
from techniques.optimizers import OptimizerRow
from techniques.outputs import compared
from techniques.regime import PLAIN, Regime
from techniques.registry import Technique, TechniqueError


class Program(Protocol):
    """A lowered model, loaded and ready to run batches of one shape."""

    def prepare(self, batch: torch.Tensor) -> Any:
        """Convert a CPU batch to the runtime's input; never timed."""
        ...

    def __call__(self, prepared: Any) -> Any:
        """Run one batch; returns before a device has finished, where it works asynchronously."""
        ...

    def to_tensors(self, output: Any) -> tuple[torch.Tensor, ...]:
        """Return outputs as CPU tensors, in the model's order, none of fewer than 32 bits."""
        ...

    def to_tensor(self, output: Any) -> torch.Tensor:
        """Return the first of the outputs."""
        return self.to_tensors(output)[0]

    def kernels(self, prepared: Any) -> list[str]:
        """Return the names of the kernels that really run, read from the runtime."""
        ...

    def trace(self, prepared: Sequence[Any], calls: int, path: Path) -> list[OperatorTime]:
        """Run `calls` times under the runtime's own profiler; write its Chrome trace to `path`."""
        ...


@runtime_checkable
class OwnClock(Protocol):
    """A program whose runtime times each call itself."""

    def latest_call_s(self) -> float:
        """Return the seconds of the latest call by the runtime's own clock, without the call from Python."""
        ...


class Backend(Protocol):
    """One runtime on one kind of hardware.

    Each method raises CannotApply where this model or machine does not allow it: then the stage is skipped.
    """

    device: torch.device

    def lower(
        self,
        model: torch.nn.Module,
        example: torch.Tensor,
        numerics: Numerics,
        calibration: Iterable[torch.Tensor],
        folder: Path,
    ) -> None:
        """Write the runtime's own file for `model` at the shape of `example` into `folder`.

        `example` (batch, ...) and the `calibration` batches (samples, ...) are model inputs on the CPU.
        Raises CannotApply where the runtime cannot take this model, TechniqueError for a format without a
        kernel.
        """
        ...

    def load(
        self, folder: Path, build: Callable[[], torch.nn.Module], numerics: Numerics, threads: int
    ) -> Program:
        """Read what `lower` wrote; `build` makes the model's bare structure, for runtimes that need it."""
        ...

    def compile_step(
        self,
        model: torch.nn.Module,
        loss: Loss,
        optimizer: Technique[OptimizerRow],
        precision: str,
        regime: Regime = PLAIN,
    ) -> TrainingStep:
        """Return `model`, moved to the device, with its loss and a new optimizer, ready to train.

        A backend that takes no `regime` trains without schedules, clipping and averages. One with
        `parallels` takes `spread`, a `techniques.parallel.step.Spread`, which makes the step of a rank.
        """
        ...

    def synchronize(self) -> None:
        """Wait until the device has finished."""
        ...


class ServesOnly:
    """Base of backends that do not train."""

    def compile_step(
        self,
        model: torch.nn.Module,
        loss: Loss,
        optimizer: Technique[OptimizerRow],
        precision: str,
        regime: Regime = PLAIN,
        spread: object = None,
    ) -> TrainingStep:
        """Raise TechniqueError: this backend only serves."""
        raise TechniqueError(f"{type(self).__name__} does not support training")


class ServesOnCpu(ServesOnly):
    """Base of backends that only serve, on the CPU, and have finished when a call returns."""

    device = torch.device("cpu")

    def synchronize(self) -> None:
        """Do nothing: the CPU has finished when a call returns."""
        return


@dataclass(frozen=True)
class TorchProgram(Program):
    """A program whose inputs and outputs are tensors of PyTorch. `package` is that of a compiled one.

    `channels_last` is the layout of images, with their channels innermost. `copies_input` hands each call a
    copy of the prepared batch.
    """

    run: Callable[[torch.Tensor], Any]
    device: torch.device
    dtype: torch.dtype
    package: Path | None = None
    channels_last: bool = False
    copies_input: bool = False

    def prepare(self, batch: torch.Tensor) -> torch.Tensor:
        """Return the batch on the device, in the program's precision and layout."""
        return laid_out(in_precision(batch, self.dtype).to(self.device), self.channels_last)

    def __call__(self, prepared: torch.Tensor) -> Any:
        with torch.inference_mode():
            return self.run(prepared.clone() if self.copies_input else prepared)

    def to_tensors(self, output: Any) -> tuple[torch.Tensor, ...]:
        """Return outputs as CPU tensors, none of fewer than 32 bits."""
        return compared(output)

    def kernels(self, prepared: torch.Tensor) -> list[str]:
        """Return the kernels that a package's source names, else the operators that a call runs."""
        return kernels_of_package(self.package) if self.package else kernels_of_call(lambda: self(prepared))

    def trace(self, prepared: Sequence[torch.Tensor], calls: int, path: Path) -> list[OperatorTime]:
        """Run under PyTorch's profiler; see `trace_torch`."""
        turn = itertools.cycle(prepared)
        return trace_torch(lambda: self(next(turn)), calls, path)


def sparing_inputs(program: Program, batch: torch.Tensor) -> Program:
    """Return the program, or one that copies its input first where the program writes to it.

    Otherwise a batch that is served repeatedly would change each time. Calls the program once.
    """
    if not isinstance(program, TorchProgram):
        return program  # other runtimes take graphs, which write to no input
    served, kept = (program.prepare(batch.clone()) for _ in range(2))
    program(served)
    return program if same_numbers(served, kept) else replace(program, copies_input=True)
