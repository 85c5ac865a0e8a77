"""Hinton's loss, and a student that learns by it."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from techniques.compression.context import TaughtLoss
from techniques.compression.distillation import distill, soft_loss, student


class Lessons:
    """A context that gives a linear student and keeps the loss that it is to be taught by."""

    def __init__(self) -> None:
        self.example = torch.zeros(1, 4)
        self.losses: list[TaughtLoss | None] = []
        self.widths: list[float] = []

    def calibration(self):
        return []

    def note_quality(self, moment, model) -> None: ...

    def recover(self, model) -> None: ...

    def student(self, width: float) -> torch.nn.Module:
        self.widths.append(width)
        return torch.nn.Linear(4, 3)

    def teach(self, model, loss) -> None:
        self.losses.append(loss)


def test_a_student_that_answers_as_its_teacher_has_no_soft_loss():
    outputs = torch.randn(8, 5)
    assert soft_loss(outputs, outputs, 3.0).item() == pytest.approx(0, abs=1e-6)
    assert soft_loss(outputs + 7, outputs, 3.0).item() == pytest.approx(0, abs=1e-6)


def test_soft_loss_is_the_divergence_written_out():
    outputs, teacher, temperature = torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0, 0.0]]), 2.0
    p, q = torch.softmax(teacher / 2, 1)[0], torch.softmax(outputs / 2, 1)[0]
    expected = 4 * sum(p[i] * (p[i] / q[i]).log() for i in range(2))
    assert soft_loss(outputs, teacher, temperature).item() == pytest.approx(expected.item(), rel=1e-5)


def test_at_high_temperature_it_is_the_squared_difference_of_centred_outputs():
    outputs, teacher = torch.randn(16, 10).double(), torch.randn(16, 10).double()
    difference = (outputs - outputs.mean(1, keepdim=True)) - (teacher - teacher.mean(1, keepdim=True))
    expected = difference.square().sum(1).mean() / (2 * 10)
    assert soft_loss(outputs, teacher, 1e3).item() == pytest.approx(expected.item(), rel=0.01)


def test_alpha_weighs_the_teacher_against_the_labels():
    outputs, teacher, labels = torch.randn(6, 3), torch.randn(6, 3), torch.tensor([0, 1, 2, 0, 1, 2])
    own = functional.cross_entropy(outputs, labels)
    for alpha, expected in ((0.0, own), (1.0, soft_loss(outputs, teacher, 4.0))):
        lessons = Lessons()
        distill(torch.nn.Identity(), lessons, width=0.5, temperature=4.0, alpha=alpha)
        assert lessons.losses[0](outputs, teacher, own).item() == pytest.approx(expected.item(), rel=1e-6)


def test_the_control_gets_the_same_student_and_no_teacher():
    lessons = Lessons()
    distill(torch.nn.Identity(), lessons, width=0.5, temperature=4.0, alpha=0.9)
    student(torch.nn.Identity(), lessons, width=0.5)
    assert lessons.widths == [0.5, 0.5]
    assert lessons.losses[1] is None
