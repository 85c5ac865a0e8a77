"""The run's side of a compression step: students, their lessons, and what is left of them on disk."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from bench.execution.worker import classify
from bench.models.files import OUTPUTS, load_model, save_model, save_outputs
from bench.models.predictions import Predictions
from bench.models.structures import Structure, read_structure
from bench.models.training import predict, shuffled_batches
from bench.records import Request
from bench.results.artifacts import artifact_folder
from bench.stages import compress, teach
from bench.stages.compress import StageContext, run
from bench.stages.taught import taught_by, teacher_of
from bench.workloads.image_classification import DIGITS
from bench.workloads.output_kinds import OutputKind
from techniques.compression import COMPRESSIONS
from techniques.registry import CannotApply
from tests.support.stage_requests import request_of

SETTINGS = {
    "workload": "digits",
    "quality_metric": "accuracy",
    "test_samples": 64,
    "optimizer": "adam",
    "backend": "cpu-eager",
    "precision": "fp32",
    "batch_size": 32,
    "seed": 3,
    "recover_steps": 4,
    "student_steps": 4,
}


def request(results: Path, technique: str) -> Request:
    parents = {"model": "a" * 64, "teacher": "b" * 64}
    return request_of("compress", results, SETTINGS | {"technique": technique}, key="c" * 64, parents=parents)


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """A results folder with a trained model and its outputs as a teacher."""
    torch.manual_seed(0)
    structure = Structure("digits")
    model, data = structure.build(), DIGITS.data()
    for key, inputs in (("a" * 64, data.test_inputs[:64]), ("b" * 64, data.train_inputs)):
        folder = artifact_folder(tmp_path, key)
        folder.mkdir(parents=True)
        outputs = predict(model, DIGITS, inputs, torch.device("cpu"))
        save_outputs(folder, replace(outputs, kind=OutputKind("scores", 1)))
    save_model(artifact_folder(tmp_path, "a" * 64), structure, model)
    return tmp_path


def context(results: Path) -> StageContext:
    return StageContext(request(results, "distill:0.5"), DIGITS, DIGITS.data(), Structure("digits"))


def test_a_taught_loss_finds_the_teachers_row_of_each_sample():
    data = DIGITS.data()
    scores = torch.randn(len(data.train_inputs), 10)
    teacher = teacher_of(Predictions({"": scores}), torch.nn.Identity, DIGITS, data)
    seen = []

    def loss(outputs: torch.Tensor, taught: torch.Tensor, own_loss: torch.Tensor) -> torch.Tensor:
        seen.append((taught, own_loss))
        return own_loss

    workload, numbered = taught_by(teacher, "", OutputKind("scores", 1), loss, DIGITS, data)
    chosen = torch.tensor([5, 900, 17])
    outputs = torch.randn(3, 10)
    workload.loss(outputs, numbered.train_targets[chosen])
    taught, own_loss = seen[0]
    assert torch.equal(taught, scores[chosen])
    assert own_loss == DIGITS.loss(outputs, data.train_targets[chosen])


def test_answers_whose_targets_do_not_count_are_not_taught():
    """Texts end in padding: what a teacher says there is nothing to learn."""
    data = DIGITS.data()
    targets = torch.tensor([[3, 1, -100], [2, -100, -100]])
    padded = replace(data, train_inputs=data.train_inputs[:2], train_targets=targets)
    scores = torch.randn(2, 3, 10)
    seen: list[tuple[torch.Tensor, torch.Tensor]] = []

    def loss(outputs: torch.Tensor, taught: torch.Tensor, own_loss: torch.Tensor) -> torch.Tensor:
        seen.append((outputs, taught))
        return own_loss

    read = replace(DIGITS, loss=lambda outputs, targets: outputs.sum())
    workload, numbered = taught_by(lambda rows: scores[rows], "", OutputKind("scores", 2), loss, read, padded)
    outputs = torch.randn(2, 3, 10)
    workload.loss(outputs, numbered.train_targets)
    assert torch.equal(seen[0][0], torch.stack([outputs[0, 0], outputs[0, 1], outputs[1, 0]]))
    assert torch.equal(seen[0][1], torch.stack([scores[0, 0], scores[0, 1], scores[1, 0]]))


def test_student_and_control_start_from_the_same_weights(results):
    first, second = context(results).student(0.5), context(results).student(0.5)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))


def test_lessons_of_the_labels_alone_are_the_control(results):
    """With alpha 0 the teacher has no say: the student must be the control, bit for bit."""
    models = []
    for technique in ("distill:0.5,alpha=0", "student:0.5", "distill:0.5"):
        folder = results / technique
        folder.mkdir()
        run(request(results, technique), folder)
        models.append(load_model(folder).state_dict())
    untaught, control, taught = (model["features.0.weight"] for model in models)
    assert torch.equal(untaught, control)
    assert not torch.equal(taught, control)


def test_outputs_too_large_to_keep_teach_the_same_student(results, monkeypatch):
    """A translator's scores of all words at all places are gigabytes: its students ask it anew."""
    weights = []
    for name, kept_bytes in (("kept", teach.KEPT_BYTES), ("not-kept", 1000)):
        monkeypatch.setattr(teach, "KEPT_BYTES", kept_bytes)
        taught = artifact_folder(results, "b" * 64)
        teach.run(request_of("teach", results, SETTINGS, key="b" * 64, parents={"model": "a" * 64}), taught)
        assert (taught / OUTPUTS).stat().st_size > 40_000 or name == "not-kept"
        folder = results / name
        folder.mkdir()
        run(request(results, "distill:0.5"), folder)
        weights.append(load_model(folder).state_dict()["features.0.weight"])
    assert (taught / OUTPUTS).stat().st_size < 1000
    torch.testing.assert_close(weights[0], weights[1])


NOT_OF_A_CNN = {
    "prune-heads": "found no attention",
    "prune-heads-random": "found no attention",
    "smooth-quant": "no linear layer of this model reads the outputs of a layer norm",
    "remove-layers": "0 blocks",
    "remove-layers-random": "0 blocks",
    "distill-depth": "no student of another depth",
    "student-depth": "no student of another depth",
}


@pytest.mark.parametrize("name", [row.name for row in COMPRESSIONS.rows().values() if row.kind == "step"])
def test_every_step_leaves_the_same_bits_for_the_same_seed_or_says_why_not(results, name):
    for module in COMPRESSIONS.get(name).needs:
        pytest.importorskip(module)
    weights = []
    for number in range(2):
        folder = results / f"{name}-{number}"
        folder.mkdir()
        if name in NOT_OF_A_CNN:
            with pytest.raises(CannotApply, match=NOT_OF_A_CNN[name]):
                run(request(results, name), folder)
            return
        found = run(request(results, name), folder)
        weights.append(load_model(folder).state_dict())
    assert all(torch.equal(weights[0][key], tensor) for key, tensor in weights[1].items())
    trained = [] if COMPRESSIONS.get(name).budget == "none" else [4]
    assert [entry.value for entry in found if entry.metric == "steps_trained"] == trained
    assert {entry.qualifier for entry in found if entry.metric == "accuracy"} >= {"before", "recovered"}


def test_losses_are_those_of_the_calibration_batches_with_their_labels(results):
    owner, data = context(results), DIGITS.data()
    model = load_model(artifact_folder(results, "a" * 64))
    found = list(owner.losses(model))
    assert len(found) == len(list(owner.calibration())) and all(loss.requires_grad for loss in found)
    numbers = next(shuffled_batches(len(data.train_inputs), 64, 0))
    own = DIGITS.loss(model(DIGITS.transform(data.train_inputs[numbers])), data.train_targets[numbers])
    assert torch.equal(found[0], own)


def test_parts_of_a_recovery_make_up_its_budget_and_see_the_data_in_other_orders(results):
    owner = context(results)
    model = load_model(artifact_folder(results, "a" * 64))
    for part in range(3):
        owner.recover(model, part, 3)
    assert owner.steps == SETTINGS["recover_steps"]


@pytest.mark.parametrize(
    "technique",
    [
        "prune-channels:0.5",
        "distill:0.5",
        "distill-features:0.5",
        "prune-mean:1",
        "low-rank:0.25",
        "gptq:4",
        "qat:4",
        "finetune",
    ],
)
def test_what_is_left_is_the_model_that_was_measured(results, technique):
    folder = results / "left"
    folder.mkdir()
    measured = {
        (entry.metric, entry.qualifier): entry.value for entry in run(request(results, technique), folder)
    }
    data = DIGITS.data()
    outputs = predict(load_model(folder), DIGITS, data.test_inputs[:64], torch.device("cpu"))
    again = DIGITS.quality(outputs.main, data.test_targets[:64])
    assert measured["accuracy", "recovered"] == again["accuracy"]
    parameters = sum(p.numel() for p in read_structure(folder).build().parameters())
    assert measured["parameters", ""] == parameters


def test_the_time_of_a_step_has_its_training_and_not_the_measuring_of_quality(results, monkeypatch):
    waited_s = 0.3

    def slow(*arguments):
        time.sleep(waited_s)
        return predict(*arguments)

    monkeypatch.setattr(compress, "predict", slow)
    folder = results / "timed"
    folder.mkdir()
    started = time.perf_counter()
    found = {entry.metric: entry.value for entry in run(request(results, "prune-magnitude:0.5"), folder)}
    whole_s = time.perf_counter() - started
    assert found["training_s"] <= found["compression_s"] <= whole_s - 3 * waited_s


def test_a_technique_that_is_not_for_a_model_is_skipped_and_has_not_failed():
    assert classify(CannotApply("no channel to drop")) == ("skipped", "no channel to drop")
