import numpy as np
import pytest
import torch

from bench.models.closeness import closeness
from bench.workloads.output_kinds import OutputKind
from bench.workloads.regression import DIABETES_MLP, r2_and_mse, without_training
from techniques.compression import Tolerance
from tests.support.learning import losses_of


def test_r2_is_scikit_learns() -> None:
    from sklearn.metrics import mean_squared_error, r2_score

    generator = torch.Generator().manual_seed(0)
    targets = torch.randn(50, 1, generator=generator)
    outputs = targets + torch.randn(50, 1, generator=generator)
    found = r2_and_mse(outputs, targets)
    assert found["r2"] == pytest.approx(r2_score(targets, outputs), abs=1e-6)
    assert found["mse"] == pytest.approx(mean_squared_error(targets, outputs), abs=1e-6)
    assert r2_and_mse(targets, targets) == {"r2": 1.0, "mse": 0.0}


def test_scale_is_the_training_sets() -> None:
    data = DIABETES_MLP.data()
    assert data.train_inputs.dtype == data.train_targets.dtype == torch.float32
    assert data.validation is not None
    for train, *others in (
        (data.train_inputs, data.validation.inputs, data.test_inputs),
        (data.train_targets, data.validation.targets, data.test_targets),
    ):
        assert torch.allclose(train.mean(0), torch.zeros(train.shape[1]), atol=1e-5)
        assert torch.allclose(train.std(0, correction=0), torch.ones(train.shape[1]), atol=1e-5)
        assert all(other.mean(0).abs().max() > 1e-3 for other in others)


def test_no_patient_is_both_trained_on_and_tested() -> None:
    data = DIABETES_MLP.data()
    train = {tuple(row) for row in data.train_inputs.tolist()}
    assert len(train) == len(data.train_inputs)
    assert not train & {tuple(row) for row in data.test_inputs.tolist()}


def test_least_squares_baseline_is_scikit_learns_linear_regression() -> None:
    from sklearn.linear_model import LinearRegression

    data = DIABETES_MLP.data()
    train, test = data.train_inputs.numpy(), data.test_inputs.numpy()
    theirs = LinearRegression().fit(train, data.train_targets.numpy())
    found = without_training(data)
    assert found["least squares"] == pytest.approx(theirs.score(test, data.test_targets.numpy()), abs=1e-4)
    assert -0.1 < found["training mean"] <= 0


def test_one_answer_near_0_of_the_other_sign_makes_no_output_invalid() -> None:
    own = torch.tensor([[1.0], [-2.0], [0.001]])
    for outputs, valid in ((torch.tensor([[1.0], [-2.0], [-0.001]]), 1.0), (-own, 0.0)):
        judged = {
            entry.metric: entry.value
            for entry in closeness(outputs, own, Tolerance(cosine=0.98), OutputKind("values"))
        }
        assert judged["valid"] == valid


def test_loss_falls_and_model_exports() -> None:
    data = DIABETES_MLP.data()
    torch.manual_seed(0)
    model = DIABETES_MLP.model()
    losses = losses_of(DIABETES_MLP, model, data.train_inputs[:32], data.train_targets[:32], steps=20)
    assert losses[-1] < losses[0]
    exported = torch.export.export(model.eval(), (data.test_inputs[:8],)).module()
    with torch.no_grad():
        outputs = model(data.test_inputs[:8])
        assert outputs.shape == (8, 1)
        np.testing.assert_allclose(exported(data.test_inputs[:8]), outputs, rtol=1e-5)
