"""What a workload's own functions return is its right value, or one line that says what is wrong."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from bench.commands.flops import FlopQuestion, flop_report
from bench.errors import StageError
from bench.workloads import WORKLOADS
from bench.workloads.checks import checked, checked_data, checked_loss
from bench.workloads.loading import find_workload
from bench.workloads.workload import Data, Workload
from techniques.registry import TechniqueError

OUTPUTS = torch.tensor([[2.0, -1.0], [0.5, 1.0], [1.0, 0.0]])
TARGETS = torch.tensor([0, 1, 1])
DATA = Data(torch.randn(3, 4, generator=torch.Generator().manual_seed(0)), TARGETS, OUTPUTS, TARGETS)
WORKLOAD = Workload(lambda: DATA, lambda x: x, lambda: torch.nn.Linear(4, 2), F.cross_entropy, None)


def quality_of(returned: object) -> dict[str, float]:
    workload = checked(replace(WORKLOAD, quality=lambda outputs, targets: returned), "accuracy")
    assert workload.quality is not None
    return dict(workload.quality(OUTPUTS, TARGETS))


@pytest.mark.parametrize(
    "value", [0.5, torch.tensor(0.5), torch.tensor([0.5]), np.float32(0.5), np.array(0.5, np.float16)]
)
def test_a_quality_is_any_one_number(value: object) -> None:
    found = quality_of({"accuracy": value, "recall": True})
    assert found == {"accuracy": 0.5, "recall": 1.0} and {type(each) for each in found.values()} == {float}


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (
            {"accuracy": 0.9, "brier": 0.1},
            "quality returns 'brier', which is not a quality metric; it may have acc",
        ),
        ({"acuracy": 0.9}, "quality returns 'acuracy', .*did you mean 'accuracy'"),
        ({"acc": 0.9}, "quality returns 'acc', which is not a quality metric; did you mean 'accuracy'"),
        ({"accuracy": 0.9, "latency_s": 1.0}, "quality returns 'latency_s', which is not a quality metric"),
        ({"accuracy": 0.9, 3: 1.0}, "quality returns 3, which is not a quality metric"),
        ({"recall": 0.9}, "quality returns recall, not 'accuracy', which the target is set on"),
        ({}, "quality returns nothing, not 'accuracy'"),
        (0.9, "quality must return metrics by name, as {'accuracy': 0.9}, got a float"),
        (None, "quality must return metrics by name, .* got None"),
        ({"accuracy": None}, "quality: accuracy must be one number, got None"),
        ({"accuracy": "0.9"}, "quality: accuracy must be one number, got a str"),
        ({"accuracy": 1j}, "quality: accuracy must be one number, got a complex"),
        ({"accuracy": torch.ones(3)}, r"quality: accuracy must be one number, got a tensor of shape \(3,\)"),
        ({"accuracy": np.ones(3)}, "quality: accuracy must be one number, got a ndarray"),
    ],
)
def test_a_quality_that_tells_nothing_is_one_line(returned: object, message: str) -> None:
    with pytest.raises(StageError, match=message) as caught:
        quality_of(returned)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 400


def test_what_is_measured_at_the_end_and_without_training_is_checked_too() -> None:
    workload = checked(
        replace(
            WORKLOAD,
            finish=lambda model, data: {"bleu": torch.tensor(3.0)},
            baselines=lambda data: {"the most frequent": torch.tensor(0.5)},
        ),
        "accuracy",
    )
    assert workload.finish is not None
    assert workload.finish(torch.nn.Linear(1, 1), DATA) == {"bleu": 3.0}
    assert workload.baselines(DATA) == {"the most frequent": 0.5}
    wrong: Any = {"blue": 3.0}
    workload = checked(
        replace(workload, finish=lambda *_: wrong, baselines=lambda _: {"x": "much"}), "accuracy"
    )
    assert workload.finish is not None
    with pytest.raises(StageError, match=r"finish returns 'blue', .*did you mean 'bleu'"):
        workload.finish(torch.nn.Linear(1, 1), DATA)
    with pytest.raises(StageError, match="baselines: x must be one number, got a str"):
        workload.baselines(DATA)


def losses(loss: Any) -> torch.Tensor:
    return checked_loss(loss)(OUTPUTS.clone().requires_grad_(), TARGETS)


def test_a_loss_is_one_number_with_a_gradient() -> None:
    for reduction in (lambda each: each.mean(), lambda each: each.mean().reshape(1)):
        found = losses(lambda o, t, reduction=reduction: reduction(F.cross_entropy(o, t, reduction="none")))
        assert found.shape == () and found.requires_grad
        torch.testing.assert_close(found.detach(), F.cross_entropy(OUTPUTS, TARGETS))


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (
            lambda o, t: F.cross_entropy(o, t, reduction="none"),
            r"one number for a batch, got a tensor of shape \(3,\), one for each sample; return its mean",
        ),
        (lambda o, t: o, r"one number for a batch, got a tensor of shape \(3, 2\); return its mean"),
        (lambda o, t: F.cross_entropy(o, t).item(), "the loss must be a tensor of one number, got a float"),
        (lambda o, t: (F.cross_entropy(o, t), 0), "the loss must be a tensor of one number, got a tuple"),
        (lambda o, t: None, "the loss must be a tensor of one number, got None"),
        (lambda o, t: F.cross_entropy(o.detach(), t), "the loss has no gradient"),
        (lambda o, t: (o.argmax(1) != t).sum(), "the loss has no gradient"),
        (lambda o, t: o.sum() * 1j, "the loss must be a real number, got a complex one"),
    ],
)
def test_a_loss_that_cannot_be_trained_by_is_one_line(loss: Any, message: str) -> None:
    with pytest.raises(StageError, match=message):
        losses(loss)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (replace(DATA, test_inputs=OUTPUTS[:0], test_targets=TARGETS[:0]), "the test set is empty"),
        (replace(DATA, train_inputs=OUTPUTS[:0], train_targets=TARGETS[:0]), "the training set is empty"),
        (replace(DATA, train_targets=TARGETS[:2]), "the training set has 3 inputs and 2 targets"),
        (replace(DATA, test_targets=[0, 1, 1]), "the test set's targets must be a tensor .*got a list"),
        (
            replace(DATA, train_inputs=OUTPUTS.numpy()),
            "the training set's inputs must be a tensor .*got a ndarray",
        ),
        (replace(DATA, test_targets=torch.tensor(1)), r"must be a tensor .*got a tensor of shape \(\)"),
        ((OUTPUTS, TARGETS), "data must return a Data, got a tuple"),
        (None, "data must return a Data, got None"),
    ],
)
def test_data_that_nothing_can_be_measured_on_is_one_line(data: Any, message: str) -> None:
    with pytest.raises(StageError, match=message):
        checked_data(data)


def test_a_target_is_set_on_a_quality_that_is_better_when_higher() -> None:
    for name in ("mse", "nats", "latency_s", "curve_loss"):
        with pytest.raises(TechniqueError, match=f"quality_metric must be a quality .*got '{name}'"):
            WORKLOADS.parse(f"mine.py:make,quality_metric={name}")
    assert WORKLOADS.parse("mine.py:make,quality_metric=r2").row.quality_metric == "r2"


def test_stages_and_commands_get_the_checked_functions(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(
        "import torch\n"
        "from bench.workloads.workload import Data, Workload\n"
        "x, y = torch.randn(8, 4), torch.zeros(8).long()\n"
        "loss = lambda o, t: torch.nn.functional.cross_entropy(o, t, reduction='none')\n"
        "quality = lambda o, t: {'accuracy': 1.0, 'brier': 0.1}\n"
        "net = lambda: torch.nn.Linear(4, 2)\n"
        "perloss = lambda: Workload(lambda: Data(x, y, x, y), lambda x: x, net, loss, quality)\n"
        "empty = lambda: Workload(lambda: Data(x, y, x[:0], y[:0]), lambda x: x, net, loss, quality)\n"
    )
    workload = find_workload(f"{file}:perloss")
    assert workload.quality is not None
    with pytest.raises(StageError, match="brier"):
        workload.quality(OUTPUTS, TARGETS)
    with pytest.raises(StageError, match="one for each sample"):
        flop_report(FlopQuestion(f"own:{file}:perloss", tmp_path))
    with pytest.raises(StageError, match="the test set is empty"):
        flop_report(FlopQuestion(f"own:{file}:empty", tmp_path))
