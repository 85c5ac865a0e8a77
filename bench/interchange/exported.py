"""A run as files of another format."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bench.errors import BenchError

Files = tuple[tuple[str, bytes], ...]
"""Paths relative to the folder that gets them, each with what the file holds."""


@dataclass(frozen=True)
class Exported:
    """The files, and `notes` on what of the run is not in them."""

    files: Files
    notes: tuple[str, ...] = ()

    @property
    def data(self) -> bytes:
        """The content of the only file; raises BenchError where there are several."""
        if len(self.files) != 1:
            raise BenchError(f"the export has {len(self.files)} files; --to FOLDER writes them")
        return self.files[0][1]

    def placed(self, to: Path, *, in_folder: bool) -> Files:
        """Return the files at their paths under a target: a folder, or the name of the only file."""
        if in_folder or len(self.files) != 1:
            return tuple((str(to / path), data) for path, data in self.files)
        return ((str(to), self.files[0][1]),)
