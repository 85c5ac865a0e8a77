"""Questions about a run, answered in sentences from its tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from bench.formatting import counted, format_points, format_value, three_digits
from reports.frames import worst_classes
from reports.frames.controls import CONTROL, NONE
from reports.frames.tradeoff import MAX_NONZERO_SHARE, over_seeds
from reports.frames.view import INFER_AXES, TRAIN_AXES, place_of, records, training_of
from techniques.settings import split

Row = dict[str, Any]

_TAUGHT = (*TRAIN_AXES.values(), *INFER_AXES.values(), "ranked", "quality")
_NAMED = 3
"""Cells whose worst group a sentence names."""


@dataclass(frozen=True)
class Answer:
    """A question and the run's answer."""

    question: str
    sentences: tuple[str, ...]


def answers(frames: Mapping[str, pd.DataFrame]) -> list[Answer]:
    """Answer what the frames `tradeoff`, `inference`, `classes` and `fidelity` have data for."""
    rows = records(frames["tradeoff"])
    questions = (
        ("What runs faster, and where?", _speed(rows)),
        ("What do zeroed weights save?", _zeros(rows)),
        ("Does distillation help?", _teacher(rows, frames["inference"])),
        ("Which classes lose quality?", _class_losses(rows, frames["classes"])),
        ("Which groups lose more than chance explains?", _group_losses(frames)),
        ("What do combinations give?", _combinations(rows)),
        ("Does the order of steps matter?", _orders(rows)),
    )
    candidates = [Answer(question, tuple(sentences)) for question, sentences in questions]
    return [answer for answer in candidates if answer.sentences]


def _speed(rows: Sequence[Row]) -> Iterator[str]:
    """Give the speedup on each backend of each single technique that changes what runs."""
    changed = [row for row in rows if row["same_timing"] is False and "+" not in row["compression"]]
    for workload, compression in dict.fromkeys((row["workload"], row["compression"]) for row in changed):
        own = [row for row in changed if (row["workload"], row["compression"]) == (workload, compression)]
        batches = {row["batch_size"] for row in own}
        shared = f", batch {own[0]['batch_size']}" if len(batches) == 1 else ""
        ratios = "; ".join(_speed_on(row, named=not shared) for row in own)
        yield f"{workload}: {compression} vs none on the same backend{shared}: {ratios}."


def _speed_on(row: Row, *, named: bool) -> str:
    """Give a speedup on a backend, with the batch size where it must be `named`."""
    low, high = row["speedup_low"], row["speedup_high"]
    interval = f" ({three_digits(low)} to {three_digits(high)})" if low is not None else ""
    return f"{_place(row) if named else _backend(row)} {three_digits(row['speedup'])}×{interval}"


def _zeros(rows: Sequence[Row]) -> Iterator[str]:
    masked = [
        row
        for row in rows
        if row["same_timing"]
        and row["nonzero_share"] is not None
        and row["nonzero_share"] < MAX_NONZERO_SHARE
    ]
    for workload in dict.fromkeys(row["workload"] for row in masked):
        own = [row for row in masked if row["workload"] == workload]
        saved = "; ".join(_zeros_of(own, name) for name in dict.fromkeys(row["compression"] for row in own))
        yield (
            f"{workload}: same speed as none on every backend (zeroed weights still run as dense). "
            f"Only the compressed download shrinks: {saved}."
        )


def _zeros_of(rows: Sequence[Row], compression: str) -> str:
    row = next(row for row in rows if row["compression"] == compression)
    zeros = format_value("quality", 1 - row["nonzero_share"])
    return f"{compression} ({zeros} zeros) {three_digits(row['times_smaller_compressed'])}× smaller"


def _teacher(rows: Sequence[Row], inference: pd.DataFrame) -> Iterator[str]:
    """Compare each distilled student with its control, optimizer by optimizer."""
    seen: set[tuple[str, str]] = set()
    students = [
        row
        for row in rows
        if row["compression"].startswith("distill")
        and "+" not in row["compression"]
        and row["vs_control_points"] is not None
    ]
    cells = records(inference, _TAUGHT) if students else []
    for row in students:
        name = row["compression"]
        if (row["workload"], name) in seen:
            continue
        seen.add((row["workload"], name))
        here = [entry for entry in cells if entry["ranked"] and place_of(entry) == place_of(row)]
        taught = {training_of(entry): entry for entry in here if entry["compression"] == name}
        alone = {training_of(entry): entry for entry in here if entry["compression"] == row["control"]}
        differences = []
        for optimizer in dict.fromkeys(entry["optimizer"] for entry in taught.values()):
            pairs = [
                (entry["seed"], 100 * (entry["quality"] - alone[key]["quality"]))
                for key, entry in taught.items()
                if entry["optimizer"] == optimizer and key in alone
            ]
            differences.append(f"trained with {optimizer} {_difference(pairs)}")
        yield (
            f"{row['workload']}, {_place(row)}: {name} vs {row['control']} (the same student without a "
            f"teacher), in points: {'; '.join(differences)}."
        )


def _difference(pairs: Sequence[tuple[int, float]]) -> str:
    """Write a difference in points with its interval over seeds, and say where it includes zero."""
    found = over_seeds(pairs)
    if found is None:
        return "unknown"
    if found.low is None or found.high is None:
        return f"{format_points(found.value)} (one seed, no interval)"
    note = ", includes 0" if found.low <= 0 <= found.high else ""
    return f"{format_points(found.value)} ({format_points(found.low)} to {format_points(found.high)}{note})"


def _class_losses(rows: Sequence[Row], classes: pd.DataFrame) -> Iterator[str]:
    worst = worst_classes(classes)
    first: dict[tuple[str, str], Row] = {}
    for row in rows:
        if row["compression"] != NONE and row["answers_flipped"] is not None:
            first.setdefault((row["workload"], row["compression"]), row)
    for workload in dict.fromkeys(workload for workload, _ in first):
        own = [row for (name, _), row in first.items() if name == workload]
        losses = []
        for row in sorted(own, key=lambda row: -row["answers_flipped"]):
            worst_class = worst.get((*place_of(row), row["compression"]))
            if worst_class is not None:
                control = " (the control)" if row["compression"] == CONTROL else ""
                flipped = format_value("answers_lost", row["answers_flipped"])
                losses.append(
                    f"{row['compression']}{control} on {row['backend']} flips {flipped} of the answers, "
                    f"{_largest_drop(worst_class)}"
                )
        if losses:
            yield f"{workload}: {'; '.join(losses)}."


def _largest_drop(worst: Row) -> str:
    """Name the class whose recall drops most, where it drops by more than seeds differ."""
    change, low, high = (worst[f"change_points{bound}"] for bound in ("", "_low", "_high"))
    if round(change, 1) >= 0:
        return "no class drops"
    if high is not None and high >= 0:
        return "no class drops by more than seeds differ"
    interval = (
        f" ({format_points(low, 1)} to {format_points(high, 1)} over {counted(worst['seeds'], 'seed')})"
        if high is not None
        else " (one seed, no interval)"
    )
    return f"largest drop: {worst['class']}, {format_points(change, 1)} points{interval}"


def _group_losses(frames: Mapping[str, pd.DataFrame]) -> Iterator[str]:
    """Name the worst group of each compressed cell that has flagged ones, for each workload."""
    fidelity = frames.get("fidelity")
    cells = [] if fidelity is None else records(fidelity[fidelity["groups_tested"] > 0])
    for workload in dict.fromkeys(row["workload"] for row in cells):
        own = [row for row in cells if row["workload"] == workload]
        flagged = sorted(
            (row for row in own if row["groups_flagged"]), key=lambda row: -row["worst_group_points"]
        )
        worst = [
            f"{row['compression']} on {row['backend']} seed {row['seed']}: {row['worst_column']} "
            f"{row['worst_group']}, {format_points(-row['worst_group_points'], 1)} points"
            for row in flagged[:_NAMED]
        ]
        more = f"; and {len(flagged) - _NAMED} more" if len(flagged) > _NAMED else ""
        named = f": {'; '.join(worst)}{more}" if worst else ""
        yield f"{workload}: in {len(flagged)} of {counted(len(own), 'compressed cell')}{named}."


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


def _orders(rows: Sequence[Row]) -> Iterator[str]:
    """Give the recipes of the same steps in other orders side by side."""
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        parts = split(str(row["compression"]), "+")
        if len(parts) > 1 and row["speedup"] is not None:
            groups.setdefault((row["workload"], _place(row), *sorted(parts)), []).append(row)
    for (workload, place, *_), members in groups.items():
        if len(members) > 1:
            found = "; ".join(f"{row['compression']} gives {_gains(row)}" for row in members)
            yield f"{workload}, {place}: {found}."


def _gains(row: Row) -> str:
    loss = row["loss_points"]
    quality = f"{format_points(-loss)} points" if loss is not None else "unknown quality"
    smaller = row["times_smaller"]
    size = f", {three_digits(smaller)}× smaller" if smaller is not None else ""
    return f"{quality}, {three_digits(row['speedup'])}× the speed{size}"


def _place(row: Row) -> str:
    return f"{_backend(row)} batch {row['batch_size']}"


def _backend(row: Row) -> str:
    return str(row["backend"]) + ("" if row["precision"] == "fp32" else f" {row['precision']}")
