"""What each compression costs and saves on each backend, over all trainings, compared with its control."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import astuple
from statistics import geometric_mean
from typing import Any

import pandas as pd

from bench.analysis.statistics import Interval, mean_interval
from bench.analysis.summary import numbered
from bench.diagnosis.why import explain
from reports.frames.break_even import BREAK_EVEN_COLUMNS, BREAK_EVENS, break_even_over
from reports.frames.controls import NONE, controls
from reports.frames.view import INFER_AXES, PLACE, TRAIN_AXES, RunView, place_of, records
from reports.frames.why import evidence_of

MAX_NONZERO_SHARE = 0.99
"""Below this share of non-zero weights, a model counts as one with zeroed weights."""

_POINTS = ("loss_points", "vs_control_points")
_COLUMNS = (
    *(*PLACE, "compression", "control", "trainings", "seeds", "quality", "quality_low", "quality_high"),
    *(f"{name}{bound}" for name in _POINTS for bound in ("", "_low", "_high")),
    *("latency_s", "latency_preliminary", "speedup", "speedup_low", "speedup_high", "same_timing"),
    *("artifact_bytes", "artifact_compressed_bytes", "times_smaller", "times_smaller_compressed"),
    *("nonzero_share", "answers_flipped", "answers_lost", "answers_won"),
    *("compressing_s", *BREAK_EVENS, "break_even_verdict", "why"),
)

_READ = (
    *(*TRAIN_AXES.values(), *INFER_AXES.values(), "machine", "state", "reason", "quality"),
    *("latency_s", "latency_preliminary", "artifact_bytes", "artifact_compressed_bytes"),
    *("parameters", "nonzero_parameters", "dense_flops", "least_bytes_moved"),
    *("reference_agreement", "answers_lost", "answers_won"),
    *("compressing_s", *BREAK_EVENS, "break_even_verdict", "lower_key", "infer_key"),
)

Row = dict[str, Any]


def tradeoff_table(view: RunView, inference: pd.DataFrame) -> pd.DataFrame:
    """Return one row for each workload × backend × compression, averaged over optimizers and seeds.

    `loss_points` is quality lost to the uncompressed model, `vs_control_points` quality won over the control
    (see `reports.frames.controls`), both in percentage points on one backend, paired by training; their
    bounds are a Student interval over seeds. `speedup` and `times_smaller` are over the uncompressed model on
    the same backend; `same_timing` says that it runs as that very structure and was timed with it. For
    `compressing_s` and the break-even see `reports.frames.break_even`. `why` says why it is not faster, or
    why it is, from the first of its trainings.
    """
    ranked = inference[inference["ranked"].astype(bool)]
    rows = records(ranked, _READ)
    for row, training in zip(rows, numbered(ranked, TRAIN_AXES.values())[0].tolist(), strict=True):
        row["training"] = training
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault((*place_of(row), row["compression"]), []).append(row)
    by_training = {group: {row["training"]: row for row in members} for group, members in groups.items()}
    found = [_row(view, members, by_training) for members in groups.values()]
    return pd.DataFrame(found, columns=list(_COLUMNS))


def _row(view: RunView, members: list[Row], by_training: Mapping[tuple[Any, ...], Mapping[int, Row]]) -> Row:
    first = members[0]
    place = place_of(first)

    def others(compression: str) -> list[tuple[Row, Row]]:
        found = by_training.get((*place, compression), {})
        return [(row, found[row["training"]]) for row in members if row["training"] in found]

    settings = view.stages[first["lower_key"]].request.settings
    control = next(
        (name for name in controls(first["compression"], settings.get("format")) if others(name)), ""
    )
    plain = others(NONE)
    return {
        **{name: first[name] for name in (*PLACE, "compression")},
        "control": control,
        "trainings": len(members),
        "seeds": len({row["seed"] for row in members}),
        **dict(zip(("quality", "quality_low", "quality_high"), _spread(members, "quality"), strict=True)),
        **_interval("loss_points", [(row, _points(other, row)) for row, other in plain]),
        **_interval("vs_control_points", [(row, _points(row, other)) for row, other in others(control)]),
        "latency_s": _mean(members, "latency_s"),
        "latency_preliminary": any(row["latency_preliminary"] for row in members),
        **_speedup(view, plain),
        **{name: _mean(members, name) for name in ("artifact_bytes", "artifact_compressed_bytes")},
        "times_smaller": _times(plain, "artifact_bytes"),
        "times_smaller_compressed": _times(plain, "artifact_compressed_bytes"),
        "nonzero_share": _nonzero_share(members),
        "answers_flipped": _complement(_mean(members, "reference_agreement")),
        **{name: _mean(members, name) for name in ("answers_lost", "answers_won")},
        **dict(zip(BREAK_EVEN_COLUMNS, astuple(break_even_over(members)), strict=True)),
        "why": _why(view, plain),
    }


def _why(view: RunView, pairs: list[tuple[Row, Row]]) -> str:
    if not pairs or pairs[0][0]["compression"] == NONE:
        return ""
    row, twin = pairs[0]
    return explain(evidence_of(view, row, twin)).sentence


def _points(better: Row, than: Row) -> float:
    return 100 * (float(better["quality"]) - float(than["quality"]))


def _interval(name: str, pairs: Iterable[tuple[Row, float]]) -> Row:
    found = over_seeds((row["seed"], points) for row, points in pairs)
    if found is None:
        return {name: None, f"{name}_low": None, f"{name}_high": None}
    return {name: found.value, f"{name}_low": found.low, f"{name}_high": found.high}


def over_seeds(values: Iterable[tuple[Any, float]]) -> Interval | None:
    """Average over the trainings of each seed, then over seeds, which are what repeats; None of nothing."""
    by_seed: dict[Any, list[float]] = {}
    for seed, value in values:
        by_seed.setdefault(seed, []).append(value)
    return mean_interval([sum(own) / len(own) for own in by_seed.values()]) if by_seed else None


def _speedup(view: RunView, pairs: list[tuple[Row, Row]]) -> Row:
    names = ("speedup", "speedup_low", "speedup_high", "same_timing")
    if not pairs:
        return dict.fromkeys(names)
    timings = [(plain["infer_key"], row["infer_key"]) for row, plain in pairs]
    if all(own == plain for plain, own in timings):
        return dict(zip(names, (1.0, None, None, True), strict=True))
    ratios = [ratio for pair in timings if (ratio := view.latency_ratio(*pair)) is not None]
    if not ratios:
        return dict(zip(names, (None, None, None, False), strict=True))
    # Trainings of one recipe may differ in structure: then the bounds are those of all.
    lows = [ratio.low for ratio in ratios if ratio.low is not None]
    highs = [ratio.high for ratio in ratios if ratio.high is not None]
    known = len(lows) == len(highs) == len(ratios)
    bounds = (min(lows), max(highs)) if known else (None, None)
    return dict(zip(names, (geometric_mean(r.value for r in ratios), *bounds, False), strict=True))


def _known(rows: Iterable[Row], name: str) -> Iterator[float]:
    return (float(row[name]) for row in rows if row[name] is not None)


def _mean(rows: Iterable[Row], name: str) -> float | None:
    values = list(_known(rows, name))
    return sum(values) / len(values) if values else None


def _spread(rows: list[Row], name: str) -> tuple[float | None, float | None, float | None]:
    values = list(_known(rows, name))
    return (_mean(rows, name), min(values, default=None), max(values, default=None))


def _times(pairs: list[tuple[Row, Row]], name: str) -> float | None:
    """Return the geometric mean of how many times smaller each is than its uncompressed model."""
    ratios = [other[name] / row[name] for row, other in pairs if _is_size(row[name], other[name])]
    return math.exp(sum(map(math.log, ratios)) / len(ratios)) if ratios else None


def _is_size(*values: float | None) -> bool:
    return all(value is not None and value > 0 for value in values)


def _nonzero_share(rows: list[Row]) -> float | None:
    shares = [
        row["nonzero_parameters"] / row["parameters"]
        for row in rows
        if row["parameters"] and row["nonzero_parameters"] is not None
    ]
    return sum(shares) / len(shares) if shares else None


def _complement(value: float | None) -> float | None:
    return None if value is None else 1 - value
