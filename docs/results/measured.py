"""A run as pages of results show it: its tables, and when and where it was measured."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pandas as pd

from bench.formatting import counted
from bench.results.store import Store
from reports.frames.run import read_frames
from reports.frames.view import RunView, read

BY_HAND = "<!-- What follows is written by hand. -->"
"""What a page has from this line on is kept when the page is written again."""

_WRITTEN = "<!-- Written by docs/results from a run. -->"
_MODELS = {
    "fashion-mnist-simplecnn": "SimpleCNN",
    "fashion-mnist-resnet18": "ResNet-18",
    "rotten-tomatoes-minilm": "MiniLM",
    "shakespeare-gpt2": "GPT-2 (small)",
    "shakespeare-llama": "Llama's decoder, 4 layers × 192",
    "shakespeare-llama-22m": "Llama's decoder, 6 layers × 576",
}
_LAST_OF_NAVIGATION = "      - Self-tests: results/selftest.md\n"
_LAST_OF_TABLE = "| [Self-tests](selftest.md)"
_NUMBER_WORDS = {1: "one core", 2: "two cores"}

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Measured:
    """A finished run: its tables, its day, how long it took, and the cores and features of its CPU.

    `view` is the run itself, for what is not in its tables.
    """

    matrix: str
    day: date
    took_s: float
    cores: int
    features: tuple[str, ...]
    frames: Mapping[str, pd.DataFrame]
    view: RunView | None = None

    @property
    def sentence(self) -> str:
        """Say when and where it was measured."""
        day = f"{self.day.day} {self.day:%B %Y}"
        cores = _NUMBER_WORDS.get(self.cores, counted(self.cores, "core"))
        having = f" with {', '.join(self.features)}" if self.features else ""
        took = f"one run of {round(self.took_s / 60)} minutes"
        return f"Measured on {day} on {cores} of a CPU{having}, all from {took}."


def measured_by(results: Path, run: str | None = None) -> Measured:
    """Read a run of a results folder, the latest by default.

    Raises BenchError where there is none, and ValueError for one that has not finished.
    """
    with closing(Store.open(results, create=False)) as store:
        view = read(store, store.find_run(run))
    if view.run["state"] != "finished":
        raise ValueError(f"run {view.run['id']} has not finished; run its command again")
    environment = next((content for content in view.environments.values() if "cpu_features" in content), {})
    features = environment.get("cpu_features") or {}
    started, finished = (datetime.fromtimestamp(view.run[name], UTC) for name in ("started_s", "finished_s"))
    return Measured(
        matrix=str(view.run["matrix"]),
        day=started.date(),
        took_s=(finished - started).total_seconds(),
        cores=int(environment.get("cpus") or 1),
        features=tuple(features.get("cpu") or ()),
        frames=read_frames(view),
        view=view,
    )


def assemble(title: str, measured: Measured, *parts: str) -> str:
    """Return a page: its title, where it was measured, the command, then its parts."""
    command = f"<!-- test: dry-run, it takes long -->\n```sh\nbench run --matrix {measured.matrix}\n```"
    shown = [part for part in parts if part]
    return "\n\n".join([_WRITTEN, f"# {title}", measured.sentence, command, *shown])


def write(path: Path, text: str) -> None:
    """Write a page; what was written by hand at its end stays."""
    by_hand = ""
    if path.is_file():
        _, mark, by_hand = path.read_text().partition(BY_HAND)
        by_hand = f"\n{mark}{by_hand}" if mark else ""
    path.write_text(text.rstrip() + "\n" + by_hand)


def listed(root: Path, name: str, title: str, question: str, day: date) -> None:
    """Name a page of results in the navigation and the table of pages, or set its day there."""
    config, index = root / "mkdocs.yml", root / "docs" / "pages" / "results" / "index.md"
    line, text = f"      - {title}: results/{name}.md\n", config.read_text()
    if f"results/{name}.md\n" not in text:
        config.write_text(text.replace(_LAST_OF_NAVIGATION, line + _LAST_OF_NAVIGATION))
    written = f"{day.day} {day:%B %Y}"
    text = index.read_text()
    if f"]({name}.md)" in text:
        index.write_text(re.sub(rf"(\]\({name}\.md\) \| )[^|]*", rf"\g<1>{written} ", text))
    else:
        row = f"| [{title}]({name}.md) | {written} | {question} |\n"
        index.write_text(text.replace(_LAST_OF_TABLE, row + _LAST_OF_TABLE))


def not_measured(places: Iterable[tuple[str, str]]) -> str:
    """Return a list of reasons, each with the places that it holds of; nothing for none."""
    reasons: dict[str, dict[str, None]] = {}
    for place, reason in places:
        reasons.setdefault(reason, {})[place] = None
    lines = [f"- {', '.join(own)}: {reason}." for reason, own in reasons.items()]
    return "\n".join(["Not measured:", "", *lines]) if lines else ""


def model_of(workload: str) -> str:
    """Return what a workload's model is called on pages."""
    return _MODELS.get(workload, workload)


def groups(rows: list[dict[str, Any]], key: str) -> Iterator[tuple[Any, list[dict[str, Any]]]]:
    """Yield each value of a column with its rows, in the order of the first of them."""
    for value in dict.fromkeys(row[key] for row in rows):
        yield value, [row for row in rows if row[key] == value]
