import math

import numpy as np
import pytest
import torch

from bench.workloads.medical_diagnosis import (
    BREAST_CANCER_MLP,
    area_under_curve,
    diagnosis,
    without_training,
)
from tests.support.learning import losses_of


@pytest.mark.parametrize("levels", [5, 1_000_000])
def test_area_under_curve_is_scikit_learns_with_ties_and_without(levels: int) -> None:
    from sklearn.metrics import roc_auc_score

    generator = torch.Generator().manual_seed(levels)
    positive = torch.rand(200, generator=generator) < 0.3
    scores = torch.randint(levels, (200,), generator=generator) + levels * 0.2 * positive
    assert area_under_curve(scores, positive) == pytest.approx(roc_auc_score(positive, scores))


def test_area_under_curve_of_known_answers() -> None:
    positive = torch.tensor([True, True, False, False])
    assert area_under_curve(torch.tensor([4.0, 3.0, 2.0, 1.0]), positive) == 1
    assert area_under_curve(torch.tensor([1.0, 2.0, 3.0, 4.0]), positive) == 0
    assert area_under_curve(torch.zeros(4), positive) == 0.5
    assert math.isnan(area_under_curve(torch.zeros(2), torch.tensor([True, True])))


def test_calling_all_malignant_has_all_of_the_recall_and_none_of_the_area() -> None:
    targets = torch.tensor([1, 0, 0, 0])
    found = diagnosis(torch.tensor([[0.0, 1.0]]).expand(4, 2), targets)
    assert found == {"auc": 0.5, "recall": 1.0, "accuracy": 0.25}


def test_first_samples_of_the_test_set_have_both_classes() -> None:
    """Smoke runs cut it to 64, as that of validation: its area under the curve must be a number."""
    data = BREAST_CANCER_MLP.data()
    assert data.validation is not None
    for targets in (data.test_targets, data.validation.targets):
        assert set(targets[:64].tolist()) == {0, 1}


def test_no_case_is_both_trained_on_and_tested() -> None:
    data = BREAST_CANCER_MLP.data()
    train = {tuple(row) for row in data.train_inputs.tolist()}
    assert not train & {tuple(row) for row in data.test_inputs.tolist()}
    assert torch.allclose(data.train_inputs.mean(0), torch.zeros(30), atol=1e-5)


def test_one_answer_to_all_is_worth_half_and_one_feature_much_more() -> None:
    found = without_training(BREAST_CANCER_MLP.data())
    assert found["all benign"] == 0.5
    assert 0.9 < found["best single feature"] < 1


def test_loss_falls_and_model_exports() -> None:
    data = BREAST_CANCER_MLP.data()
    torch.manual_seed(0)
    model = BREAST_CANCER_MLP.model()
    losses = losses_of(BREAST_CANCER_MLP, model, data.train_inputs[:32], data.train_targets[:32], steps=20)
    assert losses[-1] < losses[0]
    exported = torch.export.export(model.eval(), (data.test_inputs[:8],)).module()
    with torch.no_grad():
        outputs = model(data.test_inputs[:8])
        assert outputs.shape == (8, len(BREAST_CANCER_MLP.classes))
        np.testing.assert_allclose(exported(data.test_inputs[:8]), outputs, rtol=1e-5, atol=1e-6)
