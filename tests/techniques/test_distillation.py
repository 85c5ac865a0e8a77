"""Hinton's loss, and a student that learns by it."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from techniques.compression import COMPRESSIONS
from techniques.compression.context import TaughtLoss
from techniques.compression.distillation import distill, distill_depth, soft_loss, student, student_depth
from techniques.compression.features import distill_features, middle_layer, relative_error
from techniques.registry import CannotApply


class Lessons:
    """A context that gives a linear student and keeps the loss that it is to be taught by."""

    def __init__(self) -> None:
        self.example = torch.zeros(1, 4)
        self.losses: list[TaughtLoss | None] = []
        self.widths: list[float] = []
        self.depths: list[float] = []
        self.seed = 0

    def calibration(self):
        return []

    def note_quality(self, moment, model) -> None: ...

    def recover(self, model) -> None: ...

    def student(self, width: float = 1.0, depth: float = 1.0, into: str = "") -> torch.nn.Module:
        if into:
            return {"fits": torch.nn.Linear(4, 3), "wider": torch.nn.Linear(4, 5)}.get(
                into, torch.nn.Linear(9, 3)
            )
        self.widths.append(width)
        self.depths.append(depth)
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


def test_tokens_of_a_text_count_as_the_samples_of_a_batch_do():
    """A mean over answers, as the labels' cross-entropy is one: a text of 7 tokens weighs as much as one."""
    outputs, teacher = torch.randn(4, 7, 5), torch.randn(4, 7, 5)
    flat = soft_loss(outputs.flatten(0, 1), teacher.flatten(0, 1), 2.0)
    assert soft_loss(outputs, teacher, 2.0).item() == pytest.approx(flat.item(), rel=1e-5)
    repeated = soft_loss(outputs[:, :1].expand(4, 7, 5), teacher[:, :1].expand(4, 7, 5), 2.0)
    assert repeated.item() == pytest.approx(soft_loss(outputs[:, 0], teacher[:, 0], 2.0).item(), rel=1e-5)


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
        distill(torch.nn.Identity(), lessons, width=0.5, temperature=4.0, alpha=alpha, into="")
        assert lessons.losses[0](outputs, teacher, own).item() == pytest.approx(expected.item(), rel=1e-6)


def test_the_control_gets_the_same_student_and_no_teacher():
    lessons = Lessons()
    distill(torch.nn.Identity(), lessons, width=0.5, temperature=4.0, alpha=0.9, into="")
    student(torch.nn.Identity(), lessons, width=0.5, into="")
    assert lessons.widths == [0.5, 0.5]
    assert lessons.losses[1] is None


def test_the_model_of_another_workload_is_taught_where_it_does_what_the_teacher_does():
    lessons, teacher = Lessons(), torch.nn.Linear(4, 3)
    settings = {"width": 0.5, "temperature": 4.0, "alpha": 0.9}
    assert distill(teacher, lessons, **settings, into="fits").out_features == 3
    assert student(teacher, lessons, width=0.5, into="fits").out_features == 3
    assert lessons.widths == [] and lessons.losses[0] is not None and lessons.losses[1] is None
    with pytest.raises(CannotApply, match=r"the model of wider gives outputs .*5.* and its teacher .*3"):
        distill(teacher, lessons, **settings, into="wider")
    with pytest.raises(CannotApply, match="the model of other fails on these inputs: RuntimeError"):
        student(teacher, lessons, width=0.5, into="other")


def test_the_control_of_a_given_student_is_that_student():
    named = COMPRESSIONS.parse("distill:into=fashion-mnist-vit")
    control = COMPRESSIONS.parse(named.row.control_of(named.settings))
    assert control.text == "student:0.5,into=fashion-mnist-vit"
    assert named.row.structure_of(named.settings) == control.row.structure_of(control.settings)
    plain = COMPRESSIONS.parse("distill:0.25")
    assert plain.row.structure_of(plain.settings) == "student:0.25"
    assert COMPRESSIONS.parse(plain.row.control_of(plain.settings)).text == "student:0.25"


def test_a_student_of_another_depth_and_its_control_are_as_wide_as_the_teacher():
    lessons = Lessons()
    distill_depth(torch.nn.Identity(), lessons, depth=0.5, temperature=4.0, alpha=0.9)
    student_depth(torch.nn.Identity(), lessons, depth=0.5)
    assert (lessons.widths, lessons.depths) == ([1, 1], [0.5, 0.5])
    assert lessons.losses[1] is None


def net(width: int, seed: int) -> torch.nn.Sequential:
    torch.manual_seed(seed)
    return torch.nn.Sequential(
        torch.nn.Conv2d(3, width, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(4 * width, 5)
    )


class FeatureLessons(Lessons):
    """Teaches for some steps, and keeps the loss of each."""

    def __init__(self, steps: int = 40) -> None:
        super().__init__()
        self.example = torch.zeros(1, 3, 4, 4)
        self.steps, self.course = steps, []

    def student(self, width: float = 1.0, depth: float = 1.0) -> torch.nn.Module:
        return net(round(8 * width), seed=1)

    def teach(self, model, loss) -> None:
        optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
        generator = torch.Generator().manual_seed(2)
        model.train()
        for _ in range(self.steps):
            optimizer.zero_grad()
            outputs = model(torch.randn(16, 3, 4, 4, generator=generator))
            found = loss(outputs, torch.zeros(16, 5), outputs.square().mean())
            found.backward()
            optimizer.step()
            self.course.append(found.item())


def settings(**others: float) -> dict[str, float]:
    return {"width": 0.5, "temperature": 4.0, "alpha": 0.0, "beta": 1.0, **others}


def test_features_learn_to_tell_the_teachers_and_leave_no_trace():
    lessons = FeatureLessons()
    taught = distill_features(net(8, seed=0), lessons, **settings(beta=100.0))
    assert sum(lessons.course[-5:]) < 0.5 * sum(lessons.course[:5])
    assert set(taught.state_dict()) == set(net(4, seed=1).state_dict())
    assert not taught._forward_pre_hooks and not taught[0]._forward_hooks


def test_without_a_share_of_features_the_loss_is_that_of_distill():
    plain, hinted = FeatureLessons(), FeatureLessons()
    given = {"width": 0.5, "temperature": 4.0, "alpha": 0.5}
    one = distill(net(8, seed=0), plain, **given, into="")
    other = distill_features(net(8, seed=0), hinted, **given, beta=0.0)
    assert plain.course == hinted.course
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


def test_the_teacher_does_not_learn():
    teacher = net(8, seed=0)
    before = {name: tensor.clone() for name, tensor in teacher.state_dict().items()}
    distill_features(teacher, FeatureLessons(), **settings())
    assert all(torch.equal(before[name], tensor) for name, tensor in teacher.state_dict().items())


def test_the_error_of_features_has_no_scale():
    features, teacher = torch.randn(6, 4), torch.randn(6, 4)
    assert relative_error(torch.zeros(6, 4), teacher).item() == pytest.approx(1)
    assert relative_error(teacher, teacher).item() == 0
    scaled = relative_error(9 * features, 9 * teacher)
    assert scaled.item() == pytest.approx(relative_error(features, teacher).item(), rel=1e-5)


def test_the_middle_layer_is_that_of_all_but_the_last():
    def line(layers: int) -> torch.nn.Module:
        return torch.nn.Sequential(*(torch.nn.Linear(2, 2) for _ in range(layers)))

    assert [middle_layer(line(layers), torch.zeros(1, 2)) for layers in (2, 3, 4, 5)] == ["0", "1", "1", "2"]


def test_teachers_whose_middle_layer_does_not_fit_are_refused():
    with pytest.raises(CannotApply, match="has no layer '0'"):
        distill_features(torch.nn.Identity(), FeatureLessons(), **settings())
    with pytest.raises(CannotApply, match="no layer before its last"):
        distill_features(torch.nn.Identity(), Lessons(), **settings())
