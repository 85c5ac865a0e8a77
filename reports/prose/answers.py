"""The questions that a run was made for, answered in sentences from its tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from bench.formatting import counted, format_points, format_value
from reports.frames import worst_classes
from reports.frames.compression import CONTROL
from reports.frames.tradeoff import NONE, over_seeds
from reports.frames.view import place_of, records, training_of
from techniques.settings import split

Row = dict[str, Any]


@dataclass(frozen=True)
class Answer:
    """A question and what the run says to it."""

    question: str
    sentences: tuple[str, ...]


def answers(frames: Mapping[str, pd.DataFrame]) -> list[Answer]:
    """Return what the frames `tradeoff`, `inference`, `classes` can answer; what has no data is left out."""
    rows = records(frames["tradeoff"])
    asked = (
        ("Does it run faster, and where?", _speed(rows)),
        ("What do zeros in dense weights save?", _zeros(rows)),
        ("Does the teacher help?", _teacher(rows, records(frames["inference"]))),
        ("Who pays?", _who_pays(rows, frames["classes"])),
        ("What does a combination give?", _combinations(rows)),
    )
    found = [Answer(question, tuple(sentences)) for question, sentences in asked]
    return [answer for answer in found if answer.sentences]


def _speed(rows: Sequence[Row]) -> Iterator[str]:
    """Say for each single technique that changes what runs how much faster it is on each backend."""
    changed = [row for row in rows if row["same_timing"] is False and "+" not in row["compression"]]
    for workload, compression in dict.fromkeys((row["workload"], row["compression"]) for row in changed):
        own = [row for row in changed if (row["workload"], row["compression"]) == (workload, compression)]
        yield f"{workload}: {compression} runs at {'; '.join(map(_speed_on, own))} the speed of none there."


def _speed_on(row: Row) -> str:
    low, high = row["speedup_low"], row["speedup_high"]
    interval = f" ({low:.3g} to {high:.3g})" if low is not None else ""
    return f"{row['speedup']:.3g}×{interval} on {_place(row)}"


def _zeros(rows: Sequence[Row]) -> Iterator[str]:
    masked = [
        row
        for row in rows
        if row["same_timing"] and row["nonzero_share"] is not None and row["nonzero_share"] < 0.99
    ]
    for workload in dict.fromkeys(row["workload"] for row in masked):
        own = [row for row in masked if row["workload"] == workload]
        saved = "; ".join(_zeros_of(own, name) for name in dict.fromkeys(row["compression"] for row in own))
        yield (
            f"{workload}: no speed on any backend. The layers keep their shapes, and dense kernels multiply "
            f"by zero as fast as by anything else: such a model is timed as the dense one it runs as. "
            f"Only a compressed download shrinks: {saved}."
        )


def _zeros_of(rows: Sequence[Row], compression: str) -> str:
    row = next(row for row in rows if row["compression"] == compression)
    zeros = format_value("quality", 1 - row["nonzero_share"])
    return f"{compression} with {zeros} zeros {row['times_smaller_compressed']:.3g}×"


def _teacher(rows: Sequence[Row], inference: Sequence[Row]) -> Iterator[str]:
    """Hold each taught student against its control, optimizer by optimizer: each learns it in its own way."""
    seen: set[tuple[str, str]] = set()
    for row in rows:
        name = row["compression"]
        if not name.startswith("distill") or "+" in name or (row["workload"], name) in seen:
            continue
        if row["vs_control_points"] is None:
            continue
        seen.add((row["workload"], name))
        here = [entry for entry in inference if entry["ranked"] and place_of(entry) == place_of(row)]
        taught = {training_of(entry): entry for entry in here if entry["compression"] == name}
        alone = {training_of(entry): entry for entry in here if entry["compression"] == row["control"]}
        told = []
        for optimizer in dict.fromkeys(entry["optimizer"] for entry in taught.values()):
            pairs = [
                (entry["seed"], 100 * (entry["quality"] - alone[key]["quality"]))
                for key, entry in taught.items()
                if entry["optimizer"] == optimizer and key in alone
            ]
            told.append(f"trained by {optimizer} {_difference(pairs)}")
        yield (
            f"{row['workload']}: points that {name} is better than {row['control']}, the same student "
            f"without a teacher, on {_place(row)}: {'; '.join(told)}."
        )


def _difference(pairs: Sequence[tuple[int, float]]) -> str:
    """Say a difference in points with its interval over seeds, and whether it is told from none."""
    found = over_seeds(pairs)
    if found is None:
        return "unknown"
    if found.low is None or found.high is None:
        return f"{format_points(found.value)}, from one seed: nothing to judge it by"
    sure = ", not told from none" if found.low <= 0 <= found.high else ""
    return f"{format_points(found.value)} ({format_points(found.low)} to {format_points(found.high)}{sure})"


def _who_pays(rows: Sequence[Row], classes: pd.DataFrame) -> Iterator[str]:
    worst = worst_classes(classes)
    first: dict[tuple[str, str], Row] = {}
    for row in rows:
        if row["compression"] != NONE and row["answers_flipped"] is not None:
            first.setdefault((row["workload"], row["compression"]), row)
    for workload in dict.fromkeys(workload for workload, _ in first):
        own = [row for (name, _), row in first.items() if name == workload]
        told = []
        for row in sorted(own, key=lambda row: -row["answers_flipped"]):
            loser = worst.get((*place_of(row), row["compression"]))
            if loser is not None:
                control = ", the control," if row["compression"] == CONTROL else ""
                flipped = format_value("answers_lost", row["answers_flipped"])
                told.append(
                    f"{row['compression']}{control} on {row['backend']} flips {flipped} of the answers; "
                    f"{_loser(loser)}"
                )
        if told:
            yield f"{workload}: {'; '.join(told)}."


def _loser(worst: Row) -> str:
    """Name the class that loses most, where it loses more than seeds differ by."""
    change, low, high = (worst[f"change_points{bound}"] for bound in ("", "_low", "_high"))
    if round(change, 1) >= 0:
        return "no class loses"
    if high is not None and high >= 0:
        return "no class loses more than seeds differ by"
    interval = (
        f" ({format_points(low, 1)} to {format_points(high, 1)} over {counted(worst['seeds'], 'seed')})"
        if high is not None
        else ", from one seed: nothing to judge it by"
    )
    return f"worst off is {worst['class']}, {format_points(change, 1)} points{interval}"


def _combinations(rows: Sequence[Row]) -> Iterator[str]:
    by_place = {(row["workload"], _place(row), row["compression"]): row for row in rows}
    for row in rows:
        parts = [
            by_place.get((row["workload"], _place(row), part)) for part in split(str(row["compression"]), "+")
        ]
        if len(parts) < 2 or any(part is None for part in parts) or row["speedup"] is None:
            continue
        alone = "; ".join(f"{part['compression']} alone {_gains(part)}" for part in parts if part)
        yield f"{row['workload']}, {_place(row)}: {row['compression']} gives {_gains(row)}; {alone}."


def _gains(row: Row) -> str:
    loss = row["loss_points"]
    quality = f"{format_points(-loss)} points" if loss is not None else "unknown quality"
    smaller = row["times_smaller"]
    size = f", {smaller:.3g}× smaller" if smaller is not None else ""
    return f"{quality}, {row['speedup']:.3g}× the speed{size}"


def _place(row: Row) -> str:
    precision = "" if row["precision"] == "fp32" else f" {row['precision']}"
    return f"{row['backend']}{precision} b{row['batch_size']}"
