"""Training stops where it should, evaluates on its grid, and is the same for the same seed."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from bench.errors import Diverged
from bench.models.training import Evaluation, Goal, Trainer, TrainingRecord, shuffled_batches
from bench.workloads.classification import accuracy_and_recall
from bench.workloads.image_classification import DIGITS, FASHION_MNIST_SIMPLECNN, SimpleCNN
from bench.workloads.splits import with_validation
from techniques.backends.training import TorchTrainingStep


def trainer(seed: int = 0, rate: float = 0.1) -> Trainer:
    torch.manual_seed(seed)
    model = DIGITS.model()
    learn = TorchTrainingStep(model, DIGITS.loss, torch.optim.SGD(model.parameters(), lr=rate))
    return Trainer(DIGITS, with_validation(DIGITS.data()), learn, 32, torch.device("cpu"))


def points(*qualities: float) -> TrainingRecord:
    evaluations = [Evaluation(10 * (i + 1), float(i), 0.0, {"accuracy": q}) for i, q in enumerate(qualities)]
    return TrainingRecord(evaluations)


GOAL = Goal("accuracy", 0.9, 10)


def test_the_seed_cnn_is_the_one_that_is_described():
    model = FASHION_MNIST_SIMPLECNN.model()
    shapes = {name: tuple(parameter.shape) for name, parameter in model.named_parameters()}
    assert list(shapes.values()) == [
        (16, 3, 3, 3),
        (16,),
        (32, 16, 3, 3),
        (32,),
        (128, 1568),
        (128,),
        (10, 128),
        (10,),
    ]
    assert model(torch.zeros(2, 3, 28, 28)).shape == (2, 10)


def test_grey_images_become_three_equal_normalized_channels():
    data = DIGITS.data()
    batch = DIGITS.transform(data.train_inputs)
    assert batch.shape[1:] == (3, 8, 8)
    assert torch.equal(batch[:, 0], batch[:, 2])
    assert abs(batch.mean().item()) < 0.02 and abs(batch.std().item() - 1) < 0.02


def test_the_target_must_hold_for_two_evaluations_in_a_row():
    record = points(0.8, 0.91, 0.89, 0.92, 0.93)
    assert record.first_crossing(GOAL).step == 20
    assert record.sustained(GOAL).step == 40
    assert points(0.8, 0.91, 0.89, 0.92).sustained(GOAL) is None


def test_training_stops_once_the_target_holds_and_evaluates_on_the_grid():
    record = trainer().train(400, seed=0, goal=replace(GOAL, target=0.5, period=11))
    assert record.steps < 400
    assert [point.step for point in record.evaluations] == [
        11 * (i + 1) for i in range(len(record.evaluations))
    ]
    assert record.sustained(replace(GOAL, target=0.5)) is record.evaluations[-2]


def test_a_target_that_is_never_reached_spends_the_budget_exactly():
    record = trainer().train(25, seed=0, goal=replace(GOAL, target=2.0))
    assert record.steps == 25
    assert [point.step for point in record.evaluations] == [10, 20, 25]


def test_the_same_seed_gives_the_same_weights():
    one, other, another = trainer(), trainer(), trainer(seed=1)
    for each in (one, other, another):
        each.train(5, seed=0)
    assert torch.equal(one.learn.model.classifier[1].weight, other.learn.model.classifier[1].weight)
    assert not torch.equal(one.learn.model.classifier[1].weight, another.learn.model.classifier[1].weight)


def test_warming_up_changes_nothing():
    fresh, warmed = trainer(), trainer()
    warmed.warm_up()
    fresh.train(3, seed=0)
    warmed.train(3, seed=0)
    assert torch.equal(fresh.learn.model.classifier[1].weight, warmed.learn.model.classifier[1].weight)


def test_a_loss_that_is_not_finite_is_a_divergence():
    with pytest.raises(Diverged, match="loss is"):
        trainer(rate=1e20).train(20, seed=0, goal=GOAL)


class Scripted:
    """A training step that learns nothing and returns the losses of a script."""

    def __init__(self, *losses: float) -> None:
        self.model, self.losses, self.passes = DIGITS.model(), iter(losses), 0

    def __call__(self, batch, targets):
        self.passes += 1
        return torch.tensor(next(self.losses))

    def write_back(self):
        pass


def scripted(*losses: float) -> Trainer:
    return replace(trainer(), learn=Scripted(*losses))


def test_a_loss_that_is_nan_is_named_with_its_step():
    with pytest.raises(Diverged, match=r"the training loss is nan at step 5$"):
        scripted(2.3, 2.2, 2.1, 2.0, float("nan"), 1.9).train(6, seed=0, goal=replace(GOAL, period=3))


def test_a_loss_of_ten_times_the_first_steps_is_a_divergence_at_that_step():
    goal = replace(GOAL, target=2.0, period=3)
    with pytest.raises(Diverged, match=r"the training loss is 20 at step 5, 10 times the first step's 2 "):
        scripted(2.0, 1.0, 1.0, 1.0, 20.0, 1.0).train(6, seed=0, goal=goal)
    assert scripted(2.0, 1.0, 19.9, 1.0).train(4, seed=0, goal=goal).steps == 4
    # A recovery has no goal, and begins at a loss that is small.
    assert scripted(0.1, 1.0, 2.0, 3.0).train(4, seed=0).steps == 4


def test_where_the_target_came_to_hold_lies_between_evaluations():
    held = points(0.8, 0.88, 0.92, 0.93).crossing(GOAL)
    assert held.on([10.0, 20.0, 30.0, 40.0]) == pytest.approx(25)
    assert points(0.8, 0.88, 0.92).crossing(GOAL) is None


def test_the_first_steps_of_a_smoke_run_may_leap_but_not_to_infinity():
    goal = replace(GOAL, target=2.0, period=2, bounded=False)
    assert scripted(0.1, 4.0).train(2, seed=0, goal=goal).steps == 2
    with pytest.raises(Diverged, match=r"the training loss is inf at step 2$"):
        scripted(0.1, float("inf")).train(2, seed=0, goal=goal)


def test_the_loss_of_an_evaluation_is_the_mean_since_the_last():
    record = scripted(2.0, 1.0, 4.0, 5.0).train(4, seed=0, goal=replace(GOAL, target=2.0, period=2))
    assert [point.loss for point in record.evaluations] == [1.5, 4.5]


def test_a_quality_that_is_infinite_meets_no_target():
    record = points(0.8, float("inf"), float("inf"), 0.91)
    assert record.sustained(GOAL) is None and record.first_crossing(GOAL).step == 40


def test_every_epoch_uses_every_sample_once_in_an_order_of_its_own():
    batches = shuffled_batches(12, 4, seed=0)
    first, second = (torch.cat([next(batches) for _ in range(3)]) for _ in range(2))
    assert sorted(first.tolist()) == sorted(second.tolist()) == list(range(12))
    assert first.tolist() != second.tolist()


def test_a_batch_larger_than_the_data_is_all_of_it():
    assert len(next(shuffled_batches(5, 8, seed=0))) == 5


def test_macro_recall_weighs_classes_equally_where_accuracy_does_not():
    outputs = torch.tensor([[9.0, 0, 0]] * 8 + [[9.0, 0, 0], [0, 9.0, 0]])
    targets = torch.tensor([0] * 8 + [1, 1])
    found = accuracy_and_recall(outputs, targets)
    assert found["accuracy"] == pytest.approx(0.9)
    assert found["macro_recall"] == pytest.approx(0.75)  # the third class does not occur


def test_the_digits_net_is_of_the_same_kind():
    assert [type(layer) for layer in SimpleCNN(8).features] == [
        type(layer) for layer in SimpleCNN(28).features
    ]
