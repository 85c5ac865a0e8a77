"""Metrics have ranges, and a value outside is no result."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from bench.errors import StageError
from bench.metrics import METRICS
from bench.workloads.checks import checked
from bench.workloads.classification import accuracy_and_recall, binary_accuracy
from bench.workloads.workload import Data, Workload

SCORES = torch.tensor([[2.0, 1.0], [0.0, 1.0], [3.0, 0.0], [0.0, 2.0]])
LABELS = torch.tensor([0, 1, 1, 1])


def measured(found: Any) -> dict[str, float]:
    data = Data(SCORES, LABELS, SCORES, LABELS)
    own = Workload(
        lambda: data, lambda x: x, torch.nn.Identity, functional.cross_entropy, lambda outputs, targets: found
    )
    quality = checked(own, "").quality
    assert quality is not None
    return dict(quality(SCORES, LABELS))


@pytest.mark.parametrize(
    ("found", "told"),
    [
        ({"accuracy": 50.47}, r"accuracy is 50\.47, outside its range \(0 to 1\); 1 is all of them, not 100"),
        ({"accuracy": -0.1}, r"accuracy is -0\.1, outside its range \(0 to 1\)"),
        ({"bleu": 101.0}, r"bleu is 101, outside its range \(0 to 100\)"),
        ({"r2": 1.5}, r"r2 is 1\.5, outside its range \(up to 1\)"),
    ],
)
def test_a_quality_outside_its_range_is_one_line(found: Any, told: str) -> None:
    with pytest.raises(StageError, match=told):
        measured(found)


@pytest.mark.parametrize("value", [0.75, torch.tensor(0.75), np.float32(0.75), 1 + 1e-9])
def test_numbers_of_any_library_are_numbers(value: Any) -> None:
    found = measured({"accuracy": value})["accuracy"]
    assert isinstance(found, float) and found == pytest.approx(float(value))


def test_a_quality_that_is_no_number_stays_none() -> None:
    assert math.isnan(measured({"accuracy": math.nan})["accuracy"])


def test_every_quality_has_a_range() -> None:
    assert all(METRICS[name].bounds != (-math.inf, math.inf) for name in METRICS.qualities)


def test_accuracy_leaves_ignored_labels_out_and_takes_one_hot_ones() -> None:
    assert accuracy_and_recall(SCORES, LABELS)["accuracy"] == 0.75
    ignored = torch.tensor([0, 1, -100, 1])
    assert accuracy_and_recall(SCORES, ignored) == {"accuracy": 1.0, "macro_recall": 1.0}
    assert accuracy_and_recall(SCORES, functional.one_hot(LABELS, 2).float())["accuracy"] == 0.75


def test_outputs_that_are_nan_are_wrong_answers() -> None:
    lost = torch.full((4, 2), math.nan)
    assert accuracy_and_recall(lost, LABELS) == {"accuracy": 0.0, "macro_recall": 0.0}
    one = torch.tensor([math.nan, -2.0, 3.0])
    assert binary_accuracy(0.0)(one, torch.tensor([0, 0, 1])) == {
        "accuracy": pytest.approx(2 / 3),
        "macro_recall": 0.75,
    }


def test_a_binary_target_is_yes_from_a_half_on_and_may_not_count() -> None:
    outputs = torch.tensor([2.0, -2.0, 3.0])
    for targets in ([0.9, 0.1, 0.9], [1, -100, 1], [1.0, -100.0, 0.5], [True, False, True]):
        found = binary_accuracy(0.0)(outputs, torch.tensor(targets))
        assert found == {"accuracy": 1.0, "macro_recall": 1.0}


@pytest.mark.parametrize(
    ("targets", "told"),
    [
        (
            [1.0, -1.0, 1.0, -1.0],
            "2 of 4 targets are wrong, the first is -1 of sample 1: no is 0 and yes is 1",
        ),
        ([0, 1, 2, 1], "1 of 4 targets are wrong, the first is 2 of sample 2"),
        ([0.0, math.nan, 1.0, 1.0], "the first is nan of sample 1"),
    ],
)
def test_binary_targets_that_are_neither_yes_nor_no_are_one_line(targets: list[float], told: str) -> None:
    with pytest.raises(StageError, match=told):
        binary_accuracy(0.0)(torch.randn(4), torch.tensor(targets))


@pytest.mark.parametrize(
    ("targets", "told"),
    [
        (
            [0, -1, 1, 1],
            "1 of 4 targets are wrong, the first is -1 of sample 1: classes are numbered 0 to 1, ",
        ),
        ([0, 1, 7, 2], "2 of 4 targets are wrong, the first is 7 of sample 2: .* -100 .* does not count"),
        ([0.0, 0.5, 1.0, 1.0], "the first is 0.5 of sample 1"),
        ([[1, 1], [0, 1], [1, 0], [0, 0]], "do not fit .*one-hot ones are 0 for each class but one"),
    ],
)
def test_targets_that_number_no_class_are_one_line(targets: list[Any], told: str) -> None:
    with pytest.raises(StageError, match=told):
        accuracy_and_recall(SCORES, torch.tensor(targets))


def test_the_axis_of_classes_is_asked_for_where_two_fit() -> None:
    labels = torch.arange(40).reshape(8, 5) % 5
    scores = functional.one_hot(labels, 5).float()
    with pytest.raises(
        StageError, match=r'classes on axis 1 or 2: add outputs="scores:AXIS" to the Workload'
    ):
        accuracy_and_recall(scores, labels)
    assert accuracy_and_recall(scores, labels, axis=2)["accuracy"] == 1.0
    assert accuracy_and_recall(scores, labels, axis=-1)["accuracy"] == 1.0
    assert accuracy_and_recall(scores[:, :3], labels[:, :3])["accuracy"] == 1.0
    shuffled = scores[:, [0, 0, 1, 2, 3]]  # one-hot on the last axis only
    assert accuracy_and_recall(shuffled, shuffled)["accuracy"] == 1.0


@pytest.mark.parametrize(
    ("declared", "loss", "axis"),
    [
        ("scores:2", lambda o, t: o.sum(), 2),
        ("", functional.cross_entropy, 1),
        ("scores:1", lambda o, t: o, 1),
    ],
)
def test_a_workload_says_the_axis_of_its_classes(declared: str, loss: Any, axis: int) -> None:
    labels = torch.arange(40).reshape(8, 5) % 5
    scores = functional.one_hot(labels, 5).float().movedim(-1, axis)
    data = Data(scores, labels, scores, labels)
    own = Workload(lambda: data, lambda x: x, torch.nn.Identity, loss, accuracy_and_recall, outputs=declared)
    quality = checked(own, "accuracy").quality
    assert quality is not None and quality(scores, labels)["accuracy"] == 1.0


def test_accuracy_of_pixels_is_along_the_axis_of_classes() -> None:
    scores = torch.zeros(2, 3, 4, 4)
    scores[:, 1] = 1
    assert accuracy_and_recall(scores, torch.ones(2, 4, 4).long())["accuracy"] == 1.0


@pytest.mark.parametrize("outputs", [torch.randn(4), torch.randn(4, 1)])
def test_one_number_for_each_sample_is_not_taken_for_scores(outputs: torch.Tensor) -> None:
    with pytest.raises(StageError, match="binary_accuracy takes one number for each sample"):
        accuracy_and_recall(outputs, LABELS)
    right = torch.where(LABELS == 1, 0.9, 0.1).reshape(outputs.shape)
    assert binary_accuracy(0.5)(right, LABELS) == {"accuracy": 1.0, "macro_recall": 1.0}
    assert binary_accuracy(0.0)(right - 1, LABELS)["accuracy"] == 0.25
