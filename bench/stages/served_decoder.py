"""Opens what continues texts with a lowered model: a backend's own engine, or the model's own code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from bench.errors import StageError
from bench.instruments.generation import Stepwise
from bench.instruments.memory import give_back_freed
from bench.instruments.traffic import decode_bytes
from bench.models.structures import read_structure
from bench.records import Request
from bench.stages.inputs import load_backend, load_lowered, numerics, parent_folder
from bench.stages.settings import DRAFT_ROLE, ServedSettings
from bench.workloads.loading import example_batch, load_workload
from bench.workloads.workload import Data, Workload
from techniques.backends.protocol import Backend, TorchProgram
from techniques.backends.text_engine import DRAFTED, EngineOptions, ServesTexts, TextEngine, refuse_cache
from techniques.registry import CannotApply


class ServedDecoder:
    """A lowered model, the engines that continue texts with it, and test texts.

    Raises StageError where the workload has no generator.
    """

    def __init__(self, request: Request[Any]) -> None:
        settings: ServedSettings = request.settings
        self.request, self.settings = request, settings
        self.workload: Workload
        self.data: Data
        self.workload, self.data = load_workload(settings.workload, settings.test_samples)
        if self.workload.generator is None:
            raise StageError(f"{settings.workload} declares generation but has no generator")
        self.backend: Backend = load_backend(settings)
        self.folder = parent_folder(request, "lowered")
        self.window: int = self.data.test_inputs.shape[1]
        self._model: torch.nn.Module | None = None

    def engine(self, most_texts: int, cache: str = "", draft: str = "") -> TextEngine:
        """Return what continues up to so many texts; raises CannotApply where that is not supported."""
        if not isinstance(self.backend, ServesTexts):
            return self._eager(cache, draft)
        role, folder = DRAFT_ROLE + draft, None
        if draft:
            if role not in self.request.parents:
                raise CannotApply(f"{self.settings.backend.text} has no draft models")
            folder = parent_folder(self.request, role)
        options = EngineOptions(cache, folder, most_texts, self.window + 1)
        threads = self.request.threads
        return self.backend.text_engine(self.folder, numerics(self.settings), threads, options)

    def close(self) -> None:
        """Forget the model and give its memory back, once no engine is used any more."""
        self._model = None
        give_back_freed()

    def decode_bytes(self, draft: str = "") -> int:
        """Return the least bytes of weights that a step of new tokens reads.

        A draft proposes one token after the other and reads its weights for each; the model then checks them
        all in one pass.
        """
        format_ = self.settings.format.name if self.settings.format else None
        own = self._weights(self.folder, self.settings.workload, format_)
        if not draft:
            return own
        return own + DRAFTED * self._weights(parent_folder(self.request, DRAFT_ROLE + draft), draft, None)

    def _weights(self, folder: Path, workload: str, format_: str | None) -> int:
        return decode_bytes(read_structure(folder, workload).build(), format_, self.settings.precision)

    def texts(self, count: int, tokens: int, number: int = 0) -> torch.Tensor:
        """Return the first tokens of test texts (count, tokens) on the device; `number` counts batches."""
        found = example_batch(self.workload, self.data, count, number)[:, :tokens]
        return found.to(self.backend.device)

    def _eager(self, cache: str, draft: str) -> TextEngine:
        name = self.settings.backend.text
        if draft:
            raise CannotApply(f"{name} continues texts without a draft model")
        refuse_cache(cache, tuple(self.workload.caches), "the workload")
        if self._model is None:
            program = load_lowered(self.backend, self.folder, self.settings, self.request.threads)
            if not isinstance(program, TorchProgram) or not isinstance(program.run, torch.nn.Module):
                raise StageError(f"{name} runs no module that could generate")
            self._model = program.run
        make = self.workload.caches[cache] if cache else self.workload.generator
        assert make is not None
        return Stepwise(make(self._model))
