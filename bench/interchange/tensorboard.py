"""TensorBoard's event files: curves of trainings by step, and cells with their axes as hyperparameters.

A file holds records of `Event` messages (tensorboard/compat/proto/event.proto). The same run gives the same
files, so that exporting it again replaces them instead of adding a second copy.
"""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

from bench.interchange.entries import Entry, read_entries
from bench.interchange.exported import Exported
from bench.results.store import Store
from reports.formats.table import required

NAME = "tensorboard"

_FILE = "events.out.tfevents.0.bench"
"""TensorBoard reads each file whose name has `tfevents` in it."""

_UNSAFE = re.compile(r"[^\w.+@=:,-]+")
_MAX_FOLDER = 120


def render(store: Store, run_id: str) -> Exported:
    """Return a file for each training and cell, in a folder of its own.

    What is not ok has no metrics: it is left out, and noted. Raises BenchError without tensorboard.
    """
    required("tensorboard", "export", "--format tensorboard")
    view, entries = read_entries(store, run_id)
    started_s = float(view.run["started_s"])
    kept = [entry for entry in entries if entry.metrics and entry.state == "ok"]
    files = tuple(
        (f"{entry.kind}/{folder}/{_FILE}", _events(entry, started_s)) for folder, entry in _folders(kept)
    )
    return Exported(files, tuple(f"{entry.name}: {entry.state}" for entry in entries if entry not in kept))


def _folders(entries: list[Entry]) -> Iterator[tuple[str, Entry]]:
    """Yield each entry with a folder's name that no other has."""
    taken: set[str] = set()
    for entry in entries:
        name = _UNSAFE.sub("_", entry.name)[:_MAX_FOLDER].strip(".") or "_"
        number = 1
        while (folder := name if number == 1 else f"{name}~{number}") in taken:
            number += 1
        taken.add(folder)
        yield folder, entry


def _events(entry: Entry, started_s: float) -> bytes:
    # Else torch.utils.tensorboard imports TensorFlow where that is installed.
    sys.modules.setdefault("tensorboard.compat.notf", ModuleType("tensorboard.compat.notf"))
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.summary.writer.record_writer import RecordWriter
    from torch.utils.tensorboard.summary import hparams, scalar

    file = io.BytesIO()
    writer = RecordWriter(file)

    def write(step: int = 0, **content: Any) -> None:
        writer.write(Event(wall_time=started_s, step=step, **content).SerializeToString())

    write(file_version="brain.Event:2")
    for summary in hparams(dict(entry.parameters), dict(entry.metrics)):
        write(summary=summary)
    for metric, value in entry.metrics.items():
        write(summary=scalar(metric, value, new_style=True, double_precision=True))
    for metric, points in entry.curves.items():
        for step, value in points:
            write(step, summary=scalar(f"curve/{metric}", value, new_style=True, double_precision=True))
    return file.getvalue()
