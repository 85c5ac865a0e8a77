"""What outputs are is read from loss, targets, shape and last operator, or asked for: never guessed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import pytest
import torch
from torch import nn
from torch.nn import functional

from bench.errors import StageError
from bench.workloads.output_kinds import OutputKind, parse_kind
from bench.workloads.recognition import kind_of_given, kind_of_loss, kind_of_training, last_operator
from bench.workloads.workload import Data, Workload

X = torch.randn(12, 4, generator=torch.Generator().manual_seed(0))
BINARY = torch.arange(12) % 2
ONE_HOT = functional.one_hot(torch.arange(12) % 3)


def trained_by(loss: Callable[..., torch.Tensor], **options: str) -> Workload:
    data = Data(X, BINARY, X, BINARY)
    return Workload(lambda: data, lambda batch: batch, nn.Identity, loss, None, **options)


@pytest.mark.parametrize(
    ("loss", "kind"),
    [
        (functional.cross_entropy, "scores:1"),
        (nn.CrossEntropyLoss(label_smoothing=0.1), "scores:1"),
        (partial(functional.cross_entropy, label_smoothing=0.1), "scores:1"),
        (functional.binary_cross_entropy_with_logits, "logit"),
        (nn.BCELoss(), "probability"),
        (functional.mse_loss, "values"),
        (lambda outputs, targets: functional.mse_loss(outputs, targets), None),
    ],
)
def test_losses_of_pytorch_tell_what_they_take(loss: Callable[..., torch.Tensor], kind: str | None) -> None:
    found = kind_of_loss(trained_by(loss))
    assert (None if found is None else found.text) == kind


@pytest.mark.parametrize(
    ("outputs", "targets", "kind"),
    [
        (torch.randn(12, 5), torch.arange(12) % 5, "scores:1"),
        (torch.randn(12, 5, 3, 3), torch.zeros(12, 3, 3).long(), "scores:1"),  # segmentation
        (torch.randn(12, 7, 5), torch.zeros(12, 7).long(), "scores:2"),  # tokens
        (torch.randn(12, 1), BINARY, "logit"),
        (torch.randn(12), BINARY.float(), "logit"),
        (torch.randn(12), torch.where(torch.arange(12) == 3, -100, BINARY), "logit"),  # one does not count
        (torch.randn(12, 3), ONE_HOT, "scores:1"),
        (torch.softmax(torch.randn(12, 3), 1), ONE_HOT.float(), "scores:1"),
        (torch.randn(12, 3, 2, 2), ONE_HOT[..., None, None].expand(12, 3, 2, 2), "scores:1"),
        (torch.randn(12, 3), 1 - ONE_HOT, "logit"),  # several classes at once
        (torch.randn(12, 1), torch.randn(12, 1), "values"),
    ],
)
def test_targets_tell_what_outputs_are(outputs: torch.Tensor, targets: torch.Tensor, kind: str) -> None:
    assert kind_of_training("", outputs, targets).text == kind


@pytest.mark.parametrize(
    ("operator", "targets", "kind"),
    [
        ("Sigmoid", BINARY, "probability"),
        ("Softmax", BINARY, "probability"),
        ("Addmm", BINARY, "logit"),
        ("Addmm", BINARY.bool(), "logit"),
    ],
)
def test_the_last_operator_tells_whether_numbers_from_0_to_1_are_probabilities(
    operator: str, targets: torch.Tensor, kind: str
) -> None:
    assert kind_of_training("", torch.rand(12, 1), targets, lambda: operator).text == kind


def test_a_sigmoid_for_each_class_has_no_highest() -> None:
    several = kind_of_training("", torch.rand(12, 3), ONE_HOT, lambda: "Sigmoid")
    assert several.text == kind_of_given("", torch.rand(12, 3), lambda: "Sigmoid").text == "probability"
    model = nn.Sequential(nn.Linear(4, 5), nn.Sigmoid())
    assert kind_of_given("", model(X), lambda: last_operator(model, X)).text == "probability"
    ended = nn.Sequential(nn.Linear(4, 5), nn.Softmax(1))
    assert kind_of_given("", ended(X), lambda: last_operator(ended, X)).text == "scores:1"


@pytest.mark.parametrize(
    ("outputs", "targets", "told"),
    [
        (torch.rand(12, 1), BINARY, "all between 0 and 1: "),
        (torch.randn(12, 1), BINARY * 2.0 - 1, "of which each is -1, 0 or 1: "),
        (torch.randn(12, 1), BINARY.float() - torch.eye(12)[0], "of which each is -1, 0 or 1: "),
        (torch.randn(12, 1), BINARY / BINARY.flip(0) * 0 + BINARY, "some of them NaN: "),
        (torch.randn(12, 1), torch.ones(12), "all of them the same: "),
        (torch.randn(12, 3), ONE_HOT * 0.9 + 0.1 / 3, "that are shares of classes: "),
        (torch.randn(12, 2, 2), torch.eye(2).expand(12, 2, 2), "one-hot on axis 1 or 2: "),
    ],
)
def test_targets_that_leave_it_open_are_asked_about(
    outputs: torch.Tensor, targets: torch.Tensor, told: str
) -> None:
    with pytest.raises(StageError, match=f'{told}their kind is unknown; add outputs="scores:AXIS"'):
        kind_of_training("", outputs, targets)


@pytest.mark.parametrize(
    ("outputs", "targets"),
    [
        (torch.randn(12, 3, 3), torch.zeros(12, 3).long()),  # either axis could be that of the classes
        (torch.randn(12, 4), torch.randn(12, 2)),
    ],
)
def test_outputs_that_fit_no_target_are_asked_for(outputs: torch.Tensor, targets: torch.Tensor) -> None:
    with pytest.raises(StageError, match=r'is unknown; add outputs="scores:AXIS".*to the Workload$'):
        kind_of_training("", outputs, targets)


@pytest.mark.parametrize(
    ("outputs", "operator", "kind"),
    [
        (torch.randn(12, 5), "", "scores:1"),
        (BINARY, "", "labels"),
        (torch.rand(12), "Sigmoid", "probability"),
    ],
)
def test_a_given_models_outputs_are_known_by_what_they_are(
    outputs: torch.Tensor, operator: str, kind: str
) -> None:
    assert kind_of_given("", outputs, lambda: operator).text == kind


@pytest.mark.parametrize(
    "outputs", [torch.rand(12), torch.randn(12, 1), torch.randn(12, 5, 3, 3), torch.rand(12, 5)]
)
def test_a_given_models_outputs_are_asked_for_where_nothing_tells(outputs: torch.Tensor) -> None:
    with pytest.raises(StageError, match="their kind is unknown; add the setting outputs= to the workload: "):
        kind_of_given("", outputs)


def test_a_sigmoid_is_found_behind_reshapes() -> None:
    model = nn.Sequential(nn.Linear(4, 1), nn.Sigmoid(), nn.Flatten(0))
    assert last_operator(model, X) == "Sigmoid"
    assert last_operator(nn.Linear(4, 1), X) != "Sigmoid"
    assert last_operator(nn.Sequential(nn.ReLU(inplace=True), nn.Sigmoid()), X) == "Sigmoid"


@pytest.mark.parametrize(
    ("declared", "outputs", "told"),
    [
        ("probability", torch.tensor([[0.5], [3.0]]), "outputs reach from 0.5 to 3"),
        ("scores:4", torch.randn(2, 5), "no classes on axis 4"),
        ("labels", torch.tensor([0.5]), "not integers"),
    ],
)
def test_what_is_declared_is_held_against_the_outputs(
    declared: str, outputs: torch.Tensor, told: str
) -> None:
    with pytest.raises(StageError, match=told):
        kind_of_given(declared, outputs)


@pytest.mark.parametrize("text", ["guess", "logit:1", "scores:one", ""])
def test_a_kind_that_there_is_not_is_one_line(text: str) -> None:
    with pytest.raises(ValueError, match="outputs="):
        parse_kind(text)


def test_answers_are_read_by_their_kind() -> None:
    images = torch.zeros(1, 3, 2, 2)
    images[0, 2, 0, 0] = images[0, 1, 1, 1] = 1
    assert OutputKind("scores", 1).answers(images).tolist() == [[[2, 0], [0, 1]]]
    assert OutputKind("probability").answers(torch.tensor([0.4, 0.6])).tolist() == [0, 1]
    assert OutputKind("logit").answers(torch.tensor([-0.1, 0.1])).tolist() == [0, 1]
    assert OutputKind("values").answers(images) is None


def test_one_number_for_yes_or_no_teaches_as_two_classes_do() -> None:
    """Else a softmax over one number is 1 whatever it is, and a student learns nothing."""
    logits = torch.tensor([[-2.0], [3.0]])
    scores = OutputKind("logit").class_scores(logits)
    torch.testing.assert_close(scores.softmax(-1)[..., 1], logits.sigmoid())
    again = OutputKind("probability").class_scores(logits.sigmoid())
    torch.testing.assert_close(again.softmax(-1), scores.softmax(-1))
    assert OutputKind("scores", 1).class_scores(torch.zeros(2, 5, 3, 4)).shape == (2, 3, 4, 5)
    assert OutputKind("values").class_scores(logits) is None


def test_a_workload_that_reads_its_answers_says_so() -> None:
    own = replace(trained_by(lambda outputs, targets: outputs.sum()), answers=lambda outputs: outputs > 0)
    assert kind_of_loss(own).name == "scores"
