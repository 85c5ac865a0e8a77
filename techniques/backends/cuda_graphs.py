"""Eager PyTorch recorded once as a CUDA graph: a call is one launch of all its kernels."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from techniques.backends.eager import Eager
from techniques.backends.kernels import kernels_of_call
from techniques.backends.protocol import Numerics, Program, ServesOnly, TorchProgram
from techniques.backends.training import TrainingOptions

_WARM_UPS = 3


class RecordedModel:
    """A model whose first call records its kernels, at the shape of the batch, and later calls replay them.

    A call copies the batch on the device into the recorded input, and returns the recorded output, which the
    next call overwrites. Source: PyTorch's notes on CUDA graphs ("Whole-network capture").
    """

    def __init__(self, model: torch.nn.Module) -> None:
        self.model = model
        self._graph: torch.cuda.CUDAGraph | None = None

    def __call__(self, batch: torch.Tensor) -> Any:
        if self._graph is None:
            self._graph = self._record(batch)
        self._input.copy_(batch)
        self._graph.replay()
        return self._output

    def _record(self, batch: torch.Tensor) -> torch.cuda.CUDAGraph:
        self._input = batch.clone()
        # Libraries allocate and choose their kernels in the first calls, which no recording may hold.
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(_WARM_UPS):
                self.model(self._input)
        torch.cuda.current_stream().wait_stream(aside)
        recorded = torch.cuda.CUDAGraph()
        with torch.cuda.graph(recorded):
            self._output = self.model(self._input)
        return recorded


class GraphProgram(TorchProgram):
    """A program whose kernels are those of its replay, plus the operators that they were recorded from."""

    def kernels(self, prepared: torch.Tensor) -> list[str]:
        """Return the operators that were recorded, which run once more, and the kernels of a replay."""
        recorded = self.run
        assert isinstance(recorded, RecordedModel)
        with torch.inference_mode():
            operators = kernels_of_call(lambda: recorded.model(prepared))
        return sorted({*operators, *super().kernels(prepared)})


class CudaGraphs(ServesOnly, Eager):
    """Eager PyTorch on the first CUDA device, replayed from a graph; its lowered file is the weights."""

    def __init__(self, channels_last: bool = False) -> None:
        super().__init__("cuda", TrainingOptions(channels_last=channels_last))

    def load(
        self, folder: Path, build: Callable[[], torch.nn.Module], numerics: Numerics, threads: int
    ) -> Program:
        """Read the weights; the graph is recorded in the program's first call, at its batch's shape."""
        recorded = RecordedModel(self._filled(folder, build, numerics))
        return GraphProgram(recorded, self.device, numerics.dtype, channels_last=self.options.channels_last)
