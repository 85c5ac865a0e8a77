"""What makes outputs INVALID, and what does not."""

from __future__ import annotations

import pytest
import torch

from bench.errors import StageError
from bench.models.closeness import agreement, closeness, kept_quality
from bench.models.predictions import Predictions
from bench.stages import evaluate
from bench.workloads.output_kinds import OutputKind
from techniques.compression import Tolerance
from tests.support.stage_requests import settings_for

SCORES, VALUES = OutputKind("scores", 1), OutputKind("values")
SATURATES = "int8 products saturate on this CPU: no VNNI"
OWN = torch.tensor([[2.0, -2.0], [-1.5, 1.5], [0.001, -0.001]])


def judged(outputs: torch.Tensor, allowed: Tolerance) -> dict[str, object]:
    return {entry.metric: entry for entry in closeness(outputs, OWN, allowed, SCORES)}


def test_a_sample_between_two_classes_may_turn_round():
    turned = OWN * torch.tensor([[1.0], [1.0], [-1.0]])
    found = judged(turned, Tolerance(cosine=0.98))
    assert found["valid"].value == 1 and found["cosine"].value == pytest.approx(1, abs=1e-6)
    assert found["absolute_error"].value == pytest.approx(0.002)
    assert found["top1_agreement"].value == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    ("outputs", "reason"),
    [
        (-OWN, "cosine -1.0000 is under 0.98"),
        (OWN * torch.tensor([[1.0], [-1.0], [1.0]]), "cosine 0.2800 is under 0.98"),
        (OWN * torch.tensor([[1.0], [float("nan")], [1.0]]), "outputs are not finite"),
    ],
)
def test_outputs_that_point_elsewhere_or_are_no_numbers_are_invalid(outputs, reason):
    entry = judged(outputs, Tolerance(cosine=0.98))["valid"]
    assert entry.value == 0 and reason in entry.reason


def test_a_model_that_answers_zero_is_held_to_zero():
    zeros, allowed = torch.zeros(2, 3), Tolerance(relative_error=1e-3)
    for outputs, error, valid in ((zeros, 0.0, 1), (zeros + 1e-6, float("inf"), 0)):
        found = {entry.metric: entry for entry in closeness(outputs, zeros, allowed, SCORES)}
        assert (found["relative_error"].value, found["valid"].value) == (error, valid)


def test_numbers_that_are_no_scores_have_no_answers_that_could_stay():
    outputs = OWN.flip(1) * 0.001 + OWN
    entries = {
        entry.metric: entry for entry in closeness(outputs, OWN, Tolerance(top1_agreement=0.97), VALUES)
    }
    assert entries["top1_agreement"].value is None and "values" in entries["top1_agreement"].reason
    assert entries["valid"].value == 1
    quality = kept_quality(agreement("reference_agreement", outputs, OWN, VALUES), outputs, OWN, VALUES)
    assert quality.value == entries["cosine"].value and "cosine" in quality.method


def test_quality_of_scores_is_the_share_of_answers_kept():
    turned = OWN * torch.tensor([[1.0], [1.0], [-1.0]])
    quality = kept_quality(agreement("reference_agreement", turned, OWN, SCORES), turned, OWN, SCORES)
    assert (quality.metric, quality.value) == ("quality", pytest.approx(2 / 3))


@pytest.mark.parametrize(
    ("backend", "format_", "told"),
    [
        (
            "cpu-eager",
            "int8-dynamic",
            "cosine -1.0000 is under 0.98; int8 products saturate on this CPU: no VNNI",
        ),
        ("onnxruntime", None, "cosine -1.0000 is under 0.98"),
        ("cuda-eager", "int8-dynamic", "cosine -1.0000 is under 0.98"),
    ],
)
def test_an_int8_model_that_is_invalid_on_a_cpu_whose_products_saturate_says_so(
    monkeypatch, backend, format_, told
):
    monkeypatch.setattr(evaluate, "int8_saturates", lambda **_: SATURATES)
    settings = settings_for("evaluate", backend=backend, format=format_)
    entries = evaluate.with_saturation(closeness(-OWN, OWN, Tolerance(cosine=0.98), SCORES), settings)
    assert entries[-1].metric == "valid" and entries[-1].reason == told
    good = evaluate.with_saturation(closeness(OWN, OWN, Tolerance(cosine=0.98), SCORES), settings)
    assert good[-1].reason == ""


@pytest.mark.parametrize(
    ("precision", "own", "allowed"),
    [
        ("fp64", torch.float64, 1e-9),
        ("fp64", torch.complex128, 1e-9),
        ("fp64", torch.float32, 1e-4),
        ("fp64", torch.int64, 1e-4),
        ("fp32", torch.float32, 1e-4),
        ("fp32", torch.float64, 1e-4),
        ("bf16", torch.float32, 2e-2),
    ],
)
def test_outputs_are_allowed_what_the_coarser_of_both_numbers_rounds(precision, own, allowed):
    outputs = Predictions({"": torch.zeros(2, 2, dtype=own)}, kind=SCORES)
    settings = settings_for("evaluate", precision=precision)
    assert evaluate.tolerance(settings, outputs) == Tolerance(relative_error=allowed)


def test_a_small_relative_error_is_not_enough_where_the_answers_are_others() -> None:
    """Sizes without a gap between them are of one scale, and the largest makes all errors small."""
    sizes = torch.logspace(0, 6, 64)[:, None]
    own = torch.tensor([[1.0, 0.5, -1.0]]) * sizes
    answers_turned = own.clone()
    answers_turned[:16] = own[:16].flip(1)
    exact = Tolerance(relative_error=1e-4)
    found = {entry.metric: entry for entry in closeness(answers_turned, own, exact, SCORES)}
    assert found["relative_error"].value < 1e-4 and found["top1_agreement"].value == 0.75
    assert found["valid"].value == 0 and found["valid"].reason.startswith("25.0% of the answers are others")
    tied = torch.tensor([[1.0, 1.0 - 1e-6]]).expand(8, 2)
    assert closeness(tied.flip(1), tied, exact, SCORES)[-1].value == 1
    between = torch.tensor([[2.0], [-1.0], [1e-5], [-1.5]])
    turned = between * torch.tensor([[1.0], [1.0], [-1.0], [1.0]])
    assert closeness(turned, between, exact, OutputKind("logit"))[-1].value == 1


def test_what_is_nan_agrees_with_nothing() -> None:
    lost = torch.full((6, 3), float("nan"))
    for kind in (SCORES, OutputKind("logit"), OutputKind("probability"), OutputKind("labels")):
        assert agreement("top1_agreement", lost, lost, kind).value == 0


@pytest.mark.parametrize(
    ("kind", "outputs", "targets", "accuracy"),
    [
        (SCORES, OWN, torch.tensor([0, 1, 1]), 2 / 3),
        (SCORES, OWN, torch.tensor([0.0, 1.0, 0.0]), 1.0),
        (SCORES, OWN, torch.tensor([0, 0, -100]), 1 / 2),  # the last does not count
        (OutputKind("logit"), torch.tensor([[2.0], [-1.0], [0.5]]), torch.tensor([1, 0, 0]), 2 / 3),
        (OutputKind("labels"), torch.tensor([7, 8, 9]), torch.tensor([7, 8, 8]), 2 / 3),
    ],
)
def test_the_accuracy_of_a_given_model_is_the_share_of_its_answers_that_equal_the_targets(
    kind, outputs, targets, accuracy
):
    assert evaluate.right_answers(outputs, kind, targets).value == pytest.approx(accuracy)


def test_targets_that_no_answer_could_equal_are_refused():
    with pytest.raises(StageError, match="classes are numbered 0 to 1"):
        evaluate.right_answers(OWN, SCORES, torch.tensor([0, 1, 2]))
    with pytest.raises(StageError, match=r"targets of shape \(2,\) do not fit answers of shape \(3,\)"):
        evaluate.right_answers(OWN, SCORES, torch.tensor([0, 1]))


def test_values_have_no_accuracy():
    entry = evaluate.right_answers(OWN, VALUES, torch.tensor([0, 1, 1]))
    assert entry.value is None and "values" in entry.reason
