"""What is kept of each test item, and what outputs are against the uncompressed model's."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional

from bench.errors import StageError
from bench.models.by_answer import by_answer, class_targets
from bench.models.fidelity import Qualities, fidelity
from bench.models.predictions import Predictions
from bench.records import Measurement
from bench.workloads.classification import accuracy_and_recall
from bench.workloads.language_model import likelihood_and_accuracy
from bench.workloads.medical_diagnosis import diagnosis
from bench.workloads.output_kinds import OutputKind
from bench.workloads.regression import r2_and_mse
from bench.workloads.workload import Data, Workload

SCORES = OutputKind("scores", 1)


def scores(items: int = 400, classes: int = 8, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Return scores (items, classes) and class numbers, mostly those of the highest score."""
    generator = torch.Generator().manual_seed(seed)
    targets = torch.randint(0, classes, (items,), generator=generator)
    found = torch.randn(items, classes, generator=generator) + 3 * functional.one_hot(targets, classes)
    return found, targets


def workload(quality=accuracy_and_recall, **traits) -> Workload:
    empty = Data(*(torch.zeros(1),) * 4)
    loss = functional.cross_entropy
    return Workload(lambda: empty, lambda x: x, torch.nn.Identity, loss, quality, **traits)


def measured(
    outputs: torch.Tensor,
    reference: torch.Tensor,
    targets: torch.Tensor,
    kind: OutputKind = SCORES,
    first: str = "accuracy",
    own: Workload | None = None,
) -> dict[tuple[str, str], Measurement]:
    own = own or workload()
    data = Data(outputs, targets, outputs, targets)
    found = own.quality(outputs, targets) if own.quality else {}
    qualities = Qualities(first, [Measurement(name, value) for name, value in found.items()], 0.001)
    one, other = (Predictions({"": tensor}, kind=kind) for tensor in (outputs, reference))
    return {(entry.metric, entry.qualifier): entry for entry in fidelity(one, other, data, own, qualities)}


def test_equal_outputs_diverge_by_nothing_and_agree_in_all() -> None:
    outputs, targets = scores()
    found = measured(outputs, outputs.clone(), targets)
    assert found["kl_divergence", ""].value == pytest.approx(0, abs=1e-12)
    assert found["top5_agreement", ""].value == 1


def test_divergence_is_that_of_the_references_probabilities() -> None:
    outputs, targets = scores()
    other, _ = scores(seed=1)
    expected = functional.kl_div(
        outputs.double().log_softmax(1), other.double().log_softmax(1), log_target=True, reduction="batchmean"
    )
    found = measured(outputs, other, targets)["kl_divergence", ""]
    assert found.value == pytest.approx(expected.item())
    assert found.low < found.value < found.high


def test_scores_that_are_shares_already_are_not_normalized_again() -> None:
    outputs, targets = scores()
    first = measured(outputs, outputs * 0.9, targets)
    shares = measured(outputs.softmax(1), (outputs * 0.9).softmax(1), targets)
    for metric in ("kl_divergence", "ece", "brier", "nll"):
        assert shares[metric, ""].value == pytest.approx(first[metric, ""].value, rel=1e-3)


def test_likelihood_and_brier_score_are_pytorchs() -> None:
    outputs, targets = scores()
    found = measured(outputs, outputs, targets)
    nats = functional.cross_entropy(outputs, targets).item()
    assert found["nll", ""].value == pytest.approx(nats, rel=1e-5)
    distance = (outputs.softmax(1) - functional.one_hot(targets, 8)).square().sum(1).mean().item()
    assert found["brier", ""].value == pytest.approx(distance, rel=1e-5)
    assert 0 <= found["ece", ""].low <= found["ece", ""].value <= found["ece", ""].high


def test_right_answers_are_kept_by_item_and_those_that_do_not_count_are_left_out() -> None:
    outputs, targets = scores()
    targets[::7] = -100
    kept = measured(outputs, outputs, targets)["item_right", ""]
    counted = targets != -100
    assert list(kept.samples) == (outputs.argmax(1) == targets)[counted].double().tolist()
    assert kept.value == accuracy_and_recall(outputs, targets)["accuracy"] and kept.method == "accuracy"


def test_outputs_that_are_nan_are_wrong_and_have_no_calibration() -> None:
    outputs, targets = scores()
    lost = outputs.clone()
    lost[3] = math.nan
    found = measured(lost, outputs, targets)
    assert found["item_right", ""].samples[3] == 0
    for metric in ("kl_divergence", "ece", "brier", "nll"):
        assert found[metric, ""].value is None and found[metric, ""].reason


def test_one_number_for_yes_or_no_has_two_classes() -> None:
    logits = torch.tensor([[2.0], [-1.0], [0.5], [-3.0]])
    targets = torch.tensor([[1.0], [0.0], [0.0], [0.0]])
    numbers = class_targets(logits, targets, OutputKind("logit"))
    assert numbers is not None and numbers.tolist() == [[1], [0], [0], [0]]
    found = by_answer(logits, logits, OutputKind("logit"), numbers)
    assert found is not None and found.nats is not None and found.top is None
    expected = functional.binary_cross_entropy_with_logits(logits, targets).item()
    assert found.nats.mean().item() == pytest.approx(expected, rel=1e-6)


def test_targets_that_are_no_classes_are_not_compared() -> None:
    outputs, _ = scores()
    for targets in (torch.rand(400), torch.zeros(400, 3), torch.full((400,), 99)):
        assert class_targets(outputs, targets, SCORES) is None
    one_hot = functional.one_hot(torch.arange(400) % 8, 8).float()
    numbers = class_targets(outputs, one_hot, SCORES)
    assert numbers is not None and torch.equal(numbers, torch.arange(400) % 8)


def test_a_likelihood_is_compared_by_the_nats_of_each_text() -> None:
    outputs, targets = scores(items=600, classes=6)
    texts, letters = outputs.reshape(60, 10, 6), targets.reshape(60, 10)
    own = workload(likelihood_and_accuracy)
    found = measured(texts, texts, letters, OutputKind("scores", 2), "likelihood", own)
    nats = found["item_nats", ""]
    assert nats.n == 60 and math.exp(-nats.value) == pytest.approx(
        likelihood_and_accuracy(texts, letters)["likelihood"], rel=1e-5
    )
    assert ("resampled_quality", "") not in found and found["item_right", ""].n == 60


def test_any_other_quality_is_measured_on_the_same_resamples_for_every_model() -> None:
    outputs, targets = scores(items=120, classes=2)
    outputs += 4 * torch.randn(outputs.shape, generator=torch.Generator().manual_seed(1))
    own = workload(diagnosis)
    first = measured(outputs, outputs, targets, first="auc", own=own)["resampled_quality", ""]
    again = measured(outputs, outputs, targets, first="auc", own=own)["resampled_quality", ""]
    assert first.samples == again.samples and first.n == len(first.samples) >= 20
    assert np.std(first.samples) > 0 and first.value == diagnosis(outputs, targets)["auc"]


def test_a_quality_that_depends_on_the_order_of_items_is_not_resampled() -> None:
    outputs, targets = scores(items=100)
    own = workload(lambda o, t: {"hit_rate_at_10": (o[::10].argmax(1) == t[::10]).double().mean().item()})
    found = measured(outputs, outputs, targets, first="hit_rate_at_10", own=own)["resampled_quality", ""]
    assert found.samples == () and "order" in found.reason


def test_a_slow_quality_is_not_resampled() -> None:
    outputs, targets = scores(items=100, classes=2)
    own = workload(diagnosis)
    data = Data(outputs, targets, outputs, targets)
    one = Predictions({"": outputs}, kind=SCORES)
    qualities = Qualities("auc", [Measurement("auc", diagnosis(outputs, targets)["auc"])], 3.0)
    found = {entry.metric: entry for entry in fidelity(one, one, data, own, qualities)}
    assert found["resampled_quality"].samples == () and "3000 ms" in found["resampled_quality"].reason


def test_errors_of_numbers_are_kept_by_item() -> None:
    outputs = torch.tensor([[1.0], [2.0], [4.0]])
    targets = torch.tensor([[1.0], [1.0], [1.0]]) * torch.tensor([[1.0], [2.0], [3.0]])
    own = workload(r2_and_mse, columns=lambda data: {"sex": ["1", "2", "1"]})
    found = measured(outputs, outputs, targets, OutputKind("values"), "r2", own)
    assert found["item_squared_error", ""].samples == (0.0, 0.0, 1.0)
    assert json.loads(found["item_group", "sex"].method) == ["1", "2"]
    assert ("kl_divergence", "") not in found


def test_groups_are_classes_and_the_columns_that_a_workload_has() -> None:
    outputs, targets = scores(items=90, classes=3)
    targets[0] = -100
    regions = ["north" if number % 2 else "south" for number in range(90)]
    own = workload(classes=("a", "b", "c"), columns=lambda data: {"region": regions})
    found = measured(outputs, outputs, targets, own=own)
    classes, region = found["item_group", "class"], found["item_group", "region"]
    assert json.loads(classes.method) == ["a", "b", "c"] and json.loads(region.method) == ["north", "south"]
    assert list(classes.samples) == targets[1:].double().tolist()  # the first does not count
    assert len(region.samples) == 89 and region.samples[:3] == (0.0, 1.0, 0.0)


def test_a_column_of_another_length_is_one_line() -> None:
    outputs, targets = scores(items=90)
    own = workload(columns=lambda data: {"region": ["north"] * 89})
    with pytest.raises(StageError, match="column 'region' has 89 values for 90 test samples"):
        measured(outputs, outputs, targets, own=own)


def test_a_column_of_too_many_groups_says_so() -> None:
    outputs, targets = scores(items=150)
    own = workload(columns=lambda data: {"name": list(range(150))})
    found = measured(outputs, outputs, targets, own=own)["item_group", "name"]
    assert found.samples == () and "150 groups: at most 100" in found.reason


def test_of_a_given_model_the_answers_kept_count() -> None:
    outputs, _ = scores(items=50)
    other = outputs.clone()
    other[:5] = other[:5].roll(1, dims=1)
    found = measured(other, outputs, torch.zeros(50), own=workload(None))
    assert found["item_right", ""].method == "quality"
    assert found["item_right", ""].samples == (0.0,) * 5 + (1.0,) * 45
    assert ("ece", "") not in found


def test_of_a_given_model_with_targets_right_answers_count() -> None:
    outputs, targets = scores(items=50)
    own = replace(workload(None), has_targets=True)
    found = measured(outputs, outputs, targets, own=own)
    assert found["item_right", ""].method == "accuracy" and ("ece", "") in found
