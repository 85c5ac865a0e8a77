"""All tables of a run, by name."""

from __future__ import annotations

from typing import Any

import pandas as pd

from bench.formatting import visible
from reports.frames import (
    attribution_table,
    classes_table,
    compression_table,
    curves,
    estimate_table,
    fidelity_table,
    gaps_table,
    generation_table,
    groups_table,
    inference_table,
    memory_table,
    overhead_table,
    problems_table,
    requests_table,
    robustness_table,
    runtimes_table,
    steps_table,
    tradeoff_table,
    training_table,
)
from reports.frames.paired import PAIRED, pairs_of
from reports.frames.scores import scores_table
from reports.frames.sensitivity import sensitivity
from reports.frames.tuning import trials_table
from reports.frames.view import RunView, records


def read_frames(view: RunView) -> dict[str, pd.DataFrame]:
    """Return all tables of a run by name."""
    training, inference = training_table(view), inference_table(view)
    generation, requests, trials = generation_table(view), requests_table(view), trials_table(view)
    sensitive = sensitivity(view)
    found = {
        "optimizers": scores_table(training),
        "training": training,
        "curves": curves(view),
        **({"trials": trials} if len(trials) else {}),
        "steps": steps_table(view),
        **(
            {"sensitivity": sensitive.ranges, "sensitivity_points": sensitive.points}
            if len(sensitive.ranges)
            else {}
        ),
        "compression": compression_table(view),
        "inference": inference,
        **({"generation": generation} if len(generation) else {}),
        **({"requests": requests} if len(requests) else {}),
        "tradeoff": tradeoff_table(view, inference),
        "classes": classes_table(view, inference),
        **_fidelity(view, inference),
        "runtimes": runtimes_table(view, inference),
        "memory": memory_table(view),
        "problems": problems_table(view),
        "overhead": overhead_table(view),
        "estimate": estimate_table(view),
    }
    return {name: _visible(frame) for name, frame in found.items()}


def _fidelity(view: RunView, inference: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Return the tables of compressed cells against the uncompressed ones on the same test items, if any."""
    pairs = pairs_of(view, records(inference, PAIRED))
    found = {
        "fidelity": fidelity_table(view, pairs),
        "groups": groups_table(pairs),
        "gaps": gaps_table(pairs),
        "robustness": robustness_table(view, pairs),
        "attributions": attribution_table(view, pairs),
    }
    return {name: frame for name, frame in found.items() if len(frame)}


def _visible(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a frame whose texts show all that is in them, in any figure, table and file."""
    texts = frame.select_dtypes(include=["object", "string"])
    hidden = {str(name): _shown(column) for name, column in texts.items() if _hides(column)}
    return frame.assign(**hidden) if hidden else frame


def _hides(column: pd.Series) -> bool:
    return any(isinstance(value, str) and visible(value) != value for value in column.unique())


def _shown(column: pd.Series) -> list[Any]:
    return [visible(value) if isinstance(value, str) else value for value in column]
