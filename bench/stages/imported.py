"""What another tool measured: a stage that a run has from a file, and that nothing here can run."""

from __future__ import annotations

from pathlib import Path

from bench.errors import StageError
from bench.records import Measurement, Request
from bench.stages.settings import ImportedSettings


def run(request: Request[ImportedSettings], folder: Path) -> list[Measurement]:
    """Raise StageError: only the tool itself can measure it again."""
    raise StageError(f"{request.label} was measured by {request.settings.tool}; measure it again with that")
