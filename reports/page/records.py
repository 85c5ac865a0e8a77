"""What opens from a row or a point of the page: the records of its stages, and how to repeat them."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from bench.formatting import visible
from bench.results.repeat import words_around_filter
from reports.frames.view import RunView, place_of, records
from reports.grids.cell import shortened
from reports.page.numbers import rounded

_SAMPLE_DIGITS = 4

SHORT_KEY = 12
"""Characters of a stage's key that name it on the page."""

_TIMES = {"infer": "latency_s", "step": "step_latency_s"}
_MAX_TEXT = 1000
_MAX_SAMPLES = 24
_MIN_SAMPLES = 6
"""Samples of a launch that the page has, evenly picked in their order; of fewer, it has none."""

_SAMPLES_OF_PAGE = 60_000
"""Samples in all: those of a run of many launches are thinner."""


def keys_of_point(view: RunView, point: Mapping[str, Any]) -> str:
    """Return the beginnings of the keys of what was timed and what was evaluated, joined by a space."""
    keys = (str(point["infer_key"] or ""), view.stage_of(point["cells"][0], "evaluate"))
    return " ".join(key[:SHORT_KEY] for key in keys if key)


class Texts:
    """Texts that are written once and named by their place."""

    def __init__(self) -> None:
        self._places: dict[str, int] = {}

    def place(self, text: str) -> int:
        return self._places.setdefault(visible(shortened(text, _MAX_TEXT)), len(self._places))

    def all(self) -> list[str]:
        return list(self._places)


def keys_in(tables: Iterable[Mapping[str, Any]]) -> set[str]:
    """Return the beginnings of keys that the page's tables name in their column `record`."""
    found: set[str] = set()
    for table in tables:
        for column in table["columns"]:
            if column["heading"] == "record":
                # Each text is as `train 1a2b3c step 4d5e6f`.
                found.update(key for text in column["texts"]["of"] for key in text.split(" ")[1::2])
    return found


def records_data(view: RunView, tradeoff: pd.DataFrame, keys: set[str]) -> dict[str, Any]:
    """Return the records of stages by the beginning of their keys, as JSON has them.

    A record's texts, and the values of the axes of its cell, are places in `texts`. Of stages that are timed,
    `values` are the medians of undisturbed launches in seconds, `low` and `high` bound their interval, and
    `samples` has some samples of each launch in order, of how many in all is in `of`.
    """
    texts = Texts()
    wanted = {key: key[:SHORT_KEY] for key in view.stages if key[:SHORT_KEY] in keys}
    users = _users(view, wanted)
    whys = {(*place_of(row), row["compression"]): row["why"] for row in records(tradeoff)}
    axes = list(next((cell.axes for cell in view.cells if cell.axes), {}))
    found = {}
    kept = _samples_kept(view, wanted)
    for key, short in wanted.items():
        found[short] = _record(view, key, texts) | _samples(view, key, kept)
        cell = users.get(key)
        if cell is not None and cell.axes:
            found[short]["cell"] = texts.place(cell.name)
            found[short]["axes"] = [texts.place(str(cell.axes.get(axis))) for axis in axes]
            # A timing is of all cells that run as the same structure: what was evaluated is of one.
            if view.stages[key].kind == "evaluate":
                why = whys.get((*place_of(cell.axes), cell.axes["compression"]))
                found[short] |= {"why": texts.place(why)} if why else {}
    return {"axes": axes, "texts": texts.all(), "stages": found, "repeat": _repeat(view.run)}


def _users(view: RunView, wanted: Mapping[str, str]) -> dict[str, Any]:
    """Return the first cell that has each stage."""
    found: dict[str, Any] = {}
    for cell in view.cells:
        for key in cell.stages.values():
            if key in wanted:
                found.setdefault(str(key), cell)
    return found


def _record(view: RunView, key: str, texts: Texts) -> dict[str, Any]:
    stage, status = view.stages[key], view.status(key)
    found: dict[str, Any] = {"kind": stage.kind, "label": texts.place(stage.label), "state": status.state}
    found["launches"] = [status.launches, status.good, status.disturbed]
    said = {
        "reason": status.reason or view.invalid(key),
        "last_line": status.last_line if status.bad else "",
        "kernels": view.reading(key, "kernels").method,
    }
    metric = _TIMES.get(stage.kind)
    if metric:
        reading = view.reading(key, metric)
        said["method"] = reading.method
        found["values"] = [rounded(value) for value in view.launch_values(key, metric)]
        found |= {name: rounded(getattr(reading, name)) for name in ("value", "low", "high")}
        found["preliminary"] = reading.preliminary
    return found | {name: texts.place(text) for name, text in said.items() if text}


def _samples_kept(view: RunView, keys: Iterable[str]) -> int:
    """Return how many samples of a launch the page has room for."""
    launches = sum(view.status(key).good for key in keys if view.stages[key].kind in _TIMES)
    return min(_MAX_SAMPLES, _SAMPLES_OF_PAGE // max(1, launches))


def _samples(view: RunView, key: str, kept: int) -> dict[str, Any]:
    """Return so many samples of each launch, at even places of their order."""
    metric = _TIMES.get(view.stages[key].kind)
    if metric is None or kept < _MIN_SAMPLES:
        return {}
    launches = view.timing_samples(key, metric)
    if len(launches) != len(view.launch_values(key, metric)) or not all(map(len, launches)):
        return {}
    places = (np.arange(kept) + 0.5) / kept
    picked = [samples if len(samples) <= kept else np.quantile(samples, places) for samples in launches]
    return {
        "samples": [[rounded(sample, _SAMPLE_DIGITS) for sample in sorted(own.tolist())] for own in picked],
        "of": [len(samples) for samples in launches],
    }


def _repeat(run: Mapping[str, Any]) -> dict[str, str]:
    """Return the command around the text of its filter; of an imported run, where it is from."""
    imported = run["request"].get("imported")
    if imported:
        return {"imported": visible(f"from {imported['file']}, measured by {imported['tool']}")}
    before, after = words_around_filter(run)
    return {"before": visible(shlex.join(before)), "after": visible(shlex.join(after))}
