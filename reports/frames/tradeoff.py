"""What each compression costs and saves on each backend, over all trainings, compared with its control."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import astuple
from statistics import geometric_mean
from typing import Any

import numpy as np
import pandas as pd

from bench.analysis.statistics import Interval, mean_interval
from bench.analysis.summary import numbered
from bench.diagnosis.why import explain
from reports.frames.break_even import BREAK_EVEN_COLUMNS, BREAK_EVENS, break_even_over
from reports.frames.controls import NONE, controls
from reports.frames.view import INFER_AXES, PLACE, TRAIN_AXES, RunView, plain_list
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

_NUMBERS = (
    *("quality", "latency_s", "artifact_bytes", "artifact_compressed_bytes"),
    *("parameters", "nonzero_parameters", "reference_agreement", "answers_lost", "answers_won"),
)
_CHOICE = (*PLACE, "compression")

Row = dict[str, Any]
Choice = tuple[Any, ...]
"""A place, and a compression there."""
Pair = tuple[int, int]
"""Rows of a compressed cell and of another of its training and place."""


def tradeoff_table(view: RunView, inference: pd.DataFrame) -> pd.DataFrame:
    """Return one row for each workload × backend × compression, averaged over optimizers and seeds.

    `loss_points` is quality lost to the uncompressed model, `vs_control_points` quality won over the control
    (see `reports.frames.controls`), both in percentage points on one backend, paired by training; their
    bounds are a Student interval over seeds. `speedup` and `times_smaller` are over the uncompressed model on
    the same backend; `same_timing` says that it runs as that very structure and was timed with it. For
    `compressing_s` and the break-even see `reports.frames.break_even`. `why` says why it is not faster, or
    why it is, from the first of its trainings.
    """
    cells = _Ranked(inference.loc[inference["ranked"].astype(bool), list(_READ)])
    found = [_row(view, cells, choice) for choice in cells.members]
    return pd.DataFrame(found, columns=list(_COLUMNS))


class _Ranked:
    """Ranked cells by columns; `members` are the rows of each choice: place and compression.

    Rows of dictionaries would take longer to make than all that is computed of them.
    """

    def __init__(self, ranked: pd.DataFrame) -> None:
        self.columns = {name: plain_list(ranked[name]) for name in _READ}
        self.numbers = {name: ranked[name].to_numpy(dtype=float, na_value=np.nan) for name in _NUMBERS}
        self.trainings = numbered(ranked, TRAIN_AXES.values())[0].tolist()
        self.members: dict[Choice, list[int]] = {}
        for row, choice in enumerate(zip(*(self.columns[name] for name in _CHOICE), strict=True)):
            self.members.setdefault(choice, []).append(row)
        self._by_training = {
            choice: {self.trainings[row]: row for row in rows} for choice, rows in self.members.items()
        }

    def row(self, row: int) -> Row:
        return {name: column[row] for name, column in self.columns.items()}

    def pairs(self, choice: Choice, compression: str) -> list[Pair]:
        """Return the rows of a choice, each with that of another compression of its training and place."""
        found = self._by_training.get((*choice[:-1], compression), {})
        return [
            (row, found[self.trainings[row]]) for row in self.members[choice] if self.trainings[row] in found
        ]

    def known(self, rows: Sequence[int], name: str) -> np.ndarray:
        """Return what is known of a column in these rows, (known,)."""
        values = self.numbers[name][rows]
        known: np.ndarray = values[~np.isnan(values)]
        return known

    def mean(self, rows: Sequence[int], name: str) -> float | None:
        values = self.known(rows, name)
        return float(values.mean()) if len(values) else None


def _row(view: RunView, cells: _Ranked, choice: Choice) -> Row:
    rows = cells.members[choice]
    compression = choice[-1]
    settings = view.stages[cells.columns["lower_key"][rows[0]]].request.settings
    held_against = (
        (name, cells.pairs(choice, name)) for name in controls(compression, settings.get("format"))
    )
    control, controlled = next(((name, pairs) for name, pairs in held_against if pairs), ("", []))
    plain = cells.pairs(choice, NONE)
    won = [(other, row) for row, other in controlled]
    return {
        **dict(zip(_CHOICE, choice, strict=True)),
        "control": control,
        "trainings": len(rows),
        "seeds": len({cells.columns["seed"][row] for row in rows}),
        **_spread(cells, rows, "quality"),
        **_lost(cells, "loss_points", plain),
        **_lost(cells, "vs_control_points", won),
        "latency_s": cells.mean(rows, "latency_s"),
        "latency_preliminary": any(cells.columns["latency_preliminary"][row] for row in rows),
        **_speedup(view, cells, plain),
        **{name: cells.mean(rows, name) for name in ("artifact_bytes", "artifact_compressed_bytes")},
        "times_smaller": _times(cells, plain, "artifact_bytes"),
        "times_smaller_compressed": _times(cells, plain, "artifact_compressed_bytes"),
        "nonzero_share": _nonzero_share(cells, rows),
        "answers_flipped": _complement(cells.mean(rows, "reference_agreement")),
        **{name: cells.mean(rows, name) for name in ("answers_lost", "answers_won")},
        **dict(zip(BREAK_EVEN_COLUMNS, astuple(break_even_over(_break_evens(cells, rows))), strict=True)),
        "why": _why(view, cells, plain),
    }


def _break_evens(cells: _Ranked, rows: Sequence[int]) -> list[Row]:
    columns = [[cells.columns[name][row] for row in rows] for name in BREAK_EVEN_COLUMNS]
    return [dict(zip(BREAK_EVEN_COLUMNS, values, strict=True)) for values in zip(*columns, strict=True)]


def _why(view: RunView, cells: _Ranked, pairs: Sequence[Pair]) -> str:
    if not pairs or cells.columns["compression"][pairs[0][0]] == NONE:
        return ""
    row, twin = pairs[0]
    return explain(evidence_of(view, cells.row(row), cells.row(twin))).sentence


def _lost(cells: _Ranked, name: str, pairs: Sequence[Pair]) -> Row:
    """Return the quality that the first of each pair lacks of the second's, in points, over seeds."""
    quality, seeds = cells.columns["quality"], cells.columns["seed"]
    found = over_seeds((seeds[row], 100 * (quality[other] - quality[row])) for row, other in pairs)
    if found is None:
        return {name: None, f"{name}_low": None, f"{name}_high": None}
    return {name: found.value, f"{name}_low": found.low, f"{name}_high": found.high}


def over_seeds(values: Iterable[tuple[Any, float]]) -> Interval | None:
    """Average over the trainings of each seed, then over seeds, which are what repeats; None of nothing."""
    by_seed: dict[Any, list[float]] = {}
    for seed, value in values:
        by_seed.setdefault(seed, []).append(value)
    return mean_interval([sum(own) / len(own) for own in by_seed.values()]) if by_seed else None


def _speedup(view: RunView, cells: _Ranked, pairs: Sequence[Pair]) -> Row:
    names = ("speedup", "speedup_low", "speedup_high", "same_timing")
    if not pairs:
        return dict.fromkeys(names)
    keys = cells.columns["infer_key"]
    timings = [(keys[plain], keys[row]) for row, plain in pairs]
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


def _spread(cells: _Ranked, rows: Sequence[int], name: str) -> Row:
    values = cells.known(rows, name)
    low, high = (float(values.min()), float(values.max())) if len(values) else (None, None)
    return {name: cells.mean(rows, name), f"{name}_low": low, f"{name}_high": high}


def _times(cells: _Ranked, pairs: Sequence[Pair], name: str) -> float | None:
    """Return the geometric mean of how many times smaller each is than its uncompressed model."""
    own, plain = (cells.numbers[name][[pair[side] for pair in pairs]] for side in (0, 1))
    known = (own > 0) & (plain > 0)
    return math.exp(np.log(plain[known] / own[known]).mean()) if known.any() else None


def _nonzero_share(cells: _Ranked, rows: Sequence[int]) -> float | None:
    parameters, nonzero = (cells.numbers[name][rows] for name in ("parameters", "nonzero_parameters"))
    known = (parameters > 0) & ~np.isnan(nonzero)
    return float((nonzero[known] / parameters[known]).mean()) if known.any() else None


def _complement(value: float | None) -> float | None:
    return None if value is None else 1 - value
