"""Validation data are held out of the training data, the same ones each time, whole groups of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.workloads import WORKLOADS
from bench.workloads.loading import load_workload
from bench.workloads.splits import held_out, validation_count, with_validation
from bench.workloads.workload import Data, Samples


def data_of(train: torch.Tensor, tested: int = 1000, **more: object) -> Data:
    test = torch.zeros(tested, *train.shape[1:])
    return Data(train, torch.arange(len(train)), test, torch.zeros(tested), **more)  # type: ignore[arg-type]


def distinct(samples: int) -> torch.Tensor:
    return torch.arange(float(samples)).reshape(samples, 1).repeat(1, 3)


@pytest.mark.parametrize(
    ("training", "test", "validation"),
    [(60_000, 10_000, 6_000), (60_000, 1_000, 1_000), (1_000, 400, 200), (1, 5, 1), (2, 5, 1)],
)
def test_there_are_as_many_as_for_the_test_or_a_tenth_of_many_or_a_fifth_of_few(
    training: int, test: int, validation: int
) -> None:
    assert validation_count(training, test) == validation


def test_some_training_samples_become_validation_samples_and_targets_stay_with_them() -> None:
    found = with_validation(data_of(distinct(50)))
    assert found.validation is not None and found.notes == ()
    assert len(found.validation.inputs) == 10 and len(found.train_inputs) == 40
    for inputs, targets in (
        (found.train_inputs, found.train_targets),
        (found.validation.inputs, found.validation.targets),
    ):
        assert torch.equal(inputs[:, 0].long(), targets)
    assert sorted([*found.train_targets.tolist(), *found.validation.targets.tolist()]) == list(range(50))


def test_the_same_samples_are_held_out_each_time_and_order_is_kept() -> None:
    one, other = (with_validation(data_of(distinct(50))) for _ in range(2))
    assert one.validation is not None and other.validation is not None
    assert torch.equal(one.validation.targets, other.validation.targets)
    assert one.train_targets.tolist() == sorted(one.train_targets.tolist())


def test_validation_data_of_ones_own_are_left_alone() -> None:
    own = data_of(distinct(50), validation=Samples(distinct(3), torch.arange(3)))
    assert with_validation(own) is own


def test_equal_inputs_stay_on_one_side() -> None:
    found = with_validation(data_of(distinct(25).repeat(4, 1)))
    assert found.validation is not None
    assert len(found.validation.inputs) == 20
    assert not set(found.validation.inputs[:, 0].tolist()) & set(found.train_inputs[:, 0].tolist())


def test_groups_stay_on_one_side() -> None:
    groups = torch.arange(60) // 6
    found = with_validation(data_of(distinct(60), groups=groups))
    assert found.validation is not None and found.groups is not None
    held = set((found.validation.targets // 6).tolist())
    assert len(held) == 2 and len(found.validation.targets) == 12
    assert not held & set(found.groups.tolist()) and len(found.groups) == len(found.train_inputs) == 48


@pytest.mark.parametrize("samples", [1, 2, 7])
def test_where_samples_cannot_be_kept_apart_it_is_told(samples: int) -> None:
    found = with_validation(data_of(torch.ones(samples, 3)))
    assert found.validation is not None
    assert len(found.train_inputs) >= 1 and len(found.validation.inputs) >= 1
    assert "inputs or groups in common" in found.notes[0]


@given(groups=st.lists(st.integers(0, 8), min_size=2, max_size=60).map(np.array), wanted=st.integers(1, 12))
@settings(deadline=None)
def test_whole_groups_are_held_out_and_never_many_more_than_wanted(groups: np.ndarray, wanted: int) -> None:
    held = held_out(groups, wanted)
    assert not set(groups[held]) & set(groups[~held])
    assert held.sum() < 2 * wanted
    fitting = [size for size in np.unique(groups, return_counts=True)[1] if size <= wanted]
    assert held.sum() >= min(wanted, sum(fitting))


def test_what_is_served_as_given_has_no_validation_data(tmp_path: Path) -> None:
    mine = tmp_path / "mine.py"
    mine.write_text("import torch\nmake_model = lambda: (torch.nn.Linear(4, 2), torch.randn(8, 4))\n")
    _, data = load_workload(f"module:{mine}:make_model")
    assert data.validation is None


def test_a_smoke_run_cuts_validation_data_too() -> None:
    _, data = load_workload("digits", 7)
    assert data.validation is not None
    assert len(data.validation.inputs) == len(data.validation.targets) == len(data.test_inputs) == 7


def test_bundled_workloads_have_validation_data_that_no_other_part_has() -> None:
    for name in ("digits", "diabetes-mlp", "breast-cancer-mlp"):
        assert name in WORKLOADS.rows()
        _, data = load_workload(name)
        assert data.validation is not None and not data.notes
        train, validation, test = (
            {row.numpy().tobytes() for row in part}
            for part in (data.train_inputs, data.validation.inputs, data.test_inputs)
        )
        assert validation and not validation & train and not validation & test
