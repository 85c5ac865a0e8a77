"""Reports name schedules, clipping and averages where they differ, and say where clipping binds."""

from __future__ import annotations

import pandas as pd
import pytest

from reports.frames import training_table
from reports.frames.training import clipping_note, training_label
from reports.frames.view import RunView
from reports.grids.grid import build_grid
from reports.grids.run import training_columns
from reports.prose.notes import clipping_notes


@pytest.fixture
def training(view: RunView) -> pd.DataFrame:
    return training_table(view)


def test_cells_that_were_stored_without_the_axes_have_their_defaults(training: pd.DataFrame) -> None:
    assert set(training["schedule"]) == {"constant"}
    assert set(training["clip"]) == set(training["average"]) == {"none"}


def test_defaults_are_not_shown_and_what_differs_is(training: pd.DataFrame) -> None:
    columns = training_columns(training)
    plain = build_grid("training", "Training", columns, training)
    hidden = {"schedule", "clipping", "average"}
    assert not hidden & {*plain.columns, *(heading for heading, _ in plain.shared)}
    training.loc[0, "schedule"] = "cosine"
    training["clip"] = "norm:1"
    shown = build_grid("training", "Training", columns, training)
    assert "schedule" in shown.columns and ("clipping", "norm:1") in shown.shared
    assert "average" not in {*shown.columns, *(heading for heading, _ in shown.shared)}


def test_a_training_is_named_by_what_tells_it_from_others(training: pd.DataFrame) -> None:
    training.loc[0, ["schedule", "clip", "average"]] = ["cosine", "norm:1", "ema:0.999"]
    rows = training.to_dict("records")
    first = rows[0]["optimizer"]
    assert training_label(rows[0], rows) == f"{first}, cosine, clip norm:1, average ema:0.999"
    assert training_label(rows[1], rows) == f"{rows[1]['optimizer']}, constant, clip none, average none"
    assert training_label(rows[0], rows[:1]) == first


def test_clipping_that_binds_in_most_steps_is_one_note_for_a_workload(training: pd.DataFrame) -> None:
    training["clip"] = "norm:1"
    shares = {"adam": 0.5, "momentum": 0.97, "sgd": 0.6}
    training["clip_binding_share"] = [shares[name] for name in training["optimizer"]]
    training["gradient_norm_median"], training["gradient_norm_max"] = 12.0, 86.0
    (line,) = clipping_notes(training)
    assert line == (
        "note: digits: clip norm:1 binds in most steps of 2 of 3 trainings (60 to 97 %) "
        "and sets the length of their gradients"
    )
    notes = {row["optimizer"]: clipping_note(row) for row in training.to_dict("records")}
    assert notes["adam"] == ""
    assert notes["momentum"] == (
        "clip norm:1 binds in 97 % of the steps and sets the length of their gradients "
        "(norms before: median 12.0, largest 86.0)"
    )
    training["clip_binding_share"] = None
    assert not list(clipping_notes(training))
