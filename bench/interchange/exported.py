"""A run as a file of another format."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Exported:
    """The file's content, and `notes` on what of the run is not in it."""

    data: bytes
    notes: tuple[str, ...] = ()
