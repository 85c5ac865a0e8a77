"""Tables too long for people: the best rows of each group stand for all, which the raw tables have."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

MAX_ROWS = 5_000
"""The longest table for people; the files with raw numbers have every row."""

_WHERE = ("workload", "compression", "backend", "precision", "batch_size")
_TRAINING = ("workload", "optimizer", "train_backend", "train_precision", "train_batch_size", "schedule")


@dataclass(frozen=True)
class Best:
    """Which rows stand for a long table: the lowest (`largest`: highest) `column` of each group.

    A group has equal values in the columns `groups`; the last of them are given up until few enough are left.
    """

    groups: tuple[str, ...]
    column: str
    largest: bool = False


_BEST = {
    "training": Best((*_TRAINING, "seed"), "steps_to_target"),
    "inference": Best((*_WHERE, "optimizer", "train_batch_size", "schedule", "seed"), "latency_s"),
    "tradeoff": Best(_WHERE, "latency_s"),
    "compression": Best(("workload", "recipe", "step", "optimizer", "seed"), "quality_after", largest=True),
    "runtimes": Best(("workload", "backend", "format", "precision", "batch_size"), "latency_s"),
    "steps": Best(_TRAINING, "step_latency_s"),
    "memory": Best(
        ("kind", "workload", "backend", "precision", "batch_size", "optimizer", "compressions"),
        "peak_tensor_bytes",
    ),
    "fidelity": Best((*_WHERE, "optimizer", "seed"), "paired_loss_points"),
    "groups": Best((*_WHERE, "column", "group", "optimizer", "seed"), "loss_points", largest=True),
    "gaps": Best((*_WHERE, "column", "optimizer", "seed"), "gap_points", largest=True),
    "robustness": Best((*_WHERE, "corruption", "optimizer", "seed"), "change_points"),
}


def best_rows(name: str, frame: pd.DataFrame, most: int = 0) -> tuple[pd.DataFrame, str]:
    """Return at most so many rows of a table, in its order, and a sentence on what was left out, if anything.

    Rows whose value is unknown stand for a group only where it has no other. Without a number it is
    `MAX_ROWS`.
    """
    most = most or MAX_ROWS
    if len(frame) <= most:
        return frame, ""
    best = _BEST.get(name)
    groups = [column for column in best.groups if column in frame] if best else []
    if best is None or not groups:
        return frame.iloc[:most], f"The first {most:,} of {len(frame):,} rows."
    ordered = frame.reset_index(drop=True).sort_values(
        best.column, ascending=not best.largest, kind="stable", na_position="last"
    )
    found = ordered.drop_duplicates(groups)
    while len(found) > most and len(groups) > 1:
        groups = groups[:-1]
        found = found.drop_duplicates(groups)
    found = found.sort_index().iloc[:most]
    which = f"{'highest' if best.largest else 'lowest'} {best.column}"
    return found, f"{len(found):,} of {len(frame):,} rows: the {which} of each {' × '.join(groups)}."
