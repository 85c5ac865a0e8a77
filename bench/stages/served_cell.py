"""What a cell serves, loaded in this process: for a look at it, never for a timing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from bench.stages import settings_of
from bench.stages.inputs import load_backend, load_lowered
from bench.stages.settings import LoweredSettings
from bench.workloads.loading import load_workload
from bench.workloads.workload import Data, Workload
from techniques.backends.protocol import Backend, Program


@dataclass(frozen=True)
class ServedCell:
    """A lowered model in its runtime, on so many threads, with its workload and data."""

    settings: LoweredSettings
    workload: Workload
    data: Data
    backend: Backend
    program: Program
    threads: int


def load_served(content: Mapping[str, Any], folder: Path, threads: int) -> ServedCell:
    """Load the artifact of a `lower` stage with these settings, as JSON has them."""
    settings: LoweredSettings = settings_of("lower", content)
    torch.set_num_threads(threads)
    workload, data = load_workload(settings.workload, settings.test_samples)
    backend = load_backend(settings)
    program = load_lowered(backend, folder, settings, threads)
    return ServedCell(settings, workload, data, backend, program, threads)
