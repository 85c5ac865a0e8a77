"""Rates that were tried beside an optimizer's own are no rivals in a ranking."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from reports.frames.choices import choices_of
from reports.frames.ranking import rank
from reports.frames.run import read_frames
from reports.frames.swept import are_swept, family
from reports.frames.view import TRAIN_AXES, RunView, read
from tests.support.trainings import build_trainings

SWEPT = {
    "digits/adam": (400.0, 410.0, 420.0),
    "digits/adam:lr=0.0001": (900.0, 910.0, 920.0),
    "digits/adam:lr=0.01": (100.0, 110.0, 120.0),
    "digits/sgd": (500.0, 510.0, 520.0),
}


def view_of(folder: Path, needed: dict[str, Any]) -> RunView:
    store = build_trainings(folder, needed, {})
    view = read(store, "run-1")
    store.close()
    return view


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("adam", "adam"),
        ("adam:lr=0.01", "adam"),
        ("adam:lr=0.01,eps=1e-07", "adam:eps=1e-07"),
        ('mine:file="a,lr=3",lr=0.1', 'mine:file="a,lr=3"'),
        ("muon:adamw_lr=0.1,lr=0.02", "muon:adamw_lr=0.1"),
    ],
)
def test_optimizers_that_differ_in_the_rate_alone_are_one(text: str, expected: str) -> None:
    assert family(text) == expected


@pytest.mark.parametrize(
    ("optimizers", "swept"),
    [
        (("adam", "adam:lr=0.01", "adam:lr=0.1"), (False, True, True)),
        (("adam", "adam:lr=0.01"), (False, False)),  # as `tuned` beside the default
        (("adam:lr=0.001", "adam:lr=0.01", "adam:lr=0.1"), (False, False, False)),
        (("adam:eps=0.1", "adam:lr=0.01", "adam:lr=0.1"), (False, False, False)),
    ],
)
def test_rates_are_swept_where_an_optimizer_has_its_own_and_two_others(
    optimizers: tuple[str, ...], swept: tuple[bool, ...]
) -> None:
    axes = [{**dict.fromkeys(TRAIN_AXES.values(), 1), "optimizer": text} for text in optimizers]
    assert tuple(are_swept(axes)) == swept
    other_batch = [{**row, "train_batch_size": place} for place, row in enumerate(axes)]
    assert not any(are_swept(other_batch))


def test_a_ranking_leaves_swept_rates_out_and_says_so_unless_asked_for_them(tmp_path: Path) -> None:
    view = view_of(tmp_path, SWEPT)
    ranking = rank(view)
    assert list(ranking.ranking["optimizer"]) == ["adam", "sgd"]
    (note,) = [note for note in ranking.notes if "left out" in note]
    assert note.startswith("2 rates of 1 optimizer, tried beside their own, are left out")
    every = rank(view, every_rate=True)
    assert list(every.ranking["optimizer"]) == ["adam:lr=0.01", "adam", "sgd", "adam:lr=0.0001"]
    assert not [note for note in every.notes if "left out" in note]


def test_a_swept_rate_is_not_the_choice_of_a_report(tmp_path: Path) -> None:
    view = view_of(tmp_path, SWEPT)
    (choices,) = choices_of(view, read_frames(view))
    assert choices.training.best is not None and choices.training.best.label == "adam"
    assert {score.label for score in choices.training.scores} == {"adam", "sgd"}
