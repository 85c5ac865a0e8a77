"""Quality on corrupted test items: on request, on the same items, beside the clean ones."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from bench.matrix.reading import read_matrix
from bench.models.files import save_model, save_outputs
from bench.models.structures import Structure
from bench.models.training import predict
from bench.plan.planner import make_plan
from bench.records import Request
from bench.results.artifacts import artifact_folder
from bench.stages import attribution, lower, robustness
from bench.stages.robustness import spaced
from bench.workloads.image_classification import DIGITS
from bench.workloads.output_kinds import OutputKind
from tests.support.stage_requests import request_of

TRAINED, COMPRESSED, LOWERED = "a" * 64, "b" * 64, "c" * 64
SERVED = {"test_samples": 64, "backend": "cpu-eager", "precision": "fp32", "batch_size": 8, "format": None}

MATRIX = """
[train]
workload = "digits"
optimizer = "sgd"
[infer]
compression = ["none", "prune-mean:1", "prune-mean:1+int8-dynamic"]
backend = ["cpu-eager", "onnxruntime"]
"""
ON_REQUEST = "[evaluate]\ncorruptions = true\nattributions = true\n"


def saved(results: Path, key: str, model: torch.nn.Module) -> None:
    folder = artifact_folder(results, key)
    folder.mkdir(parents=True)
    outputs = predict(model, DIGITS, DIGITS.data().test_inputs[:64], torch.device("cpu"))
    save_outputs(folder, replace(outputs, kind=OutputKind("scores", 1)))
    save_model(folder, Structure("digits"), model)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A results folder with a model, one with a few other weights, and the first one lowered."""
    folder = tmp_path_factory.mktemp("results")
    torch.manual_seed(0)
    model = Structure("digits").build()
    saved(folder, TRAINED, model)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1 + 0.3 * torch.randn_like(parameter))
    saved(folder, COMPRESSED, model)
    lowered = artifact_folder(folder, LOWERED)
    lowered.mkdir(parents=True)
    lower.run(request_of("lower", folder, SERVED, key=LOWERED, parents={"model": TRAINED}), lowered)
    return folder


def request_for(results: Path, kind: str, parents: dict[str, str], **settings: object) -> Request:
    own = SERVED if kind == "robustness" else {"test_samples": 64}
    return request_of(kind, results, {**own, **settings}, parents=parents)


def plan_of(tmp_path: Path, text: str):
    path = tmp_path / "matrix.toml"
    path.write_text(text)
    return make_plan(read_matrix(str(path)), cpus=2)


def test_both_are_planned_on_request_only(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, MATRIX)
    assert not plan.of_kind("robustness") and not plan.of_kind("attribution")
    plan = plan_of(tmp_path, MATRIX + ON_REQUEST)
    lowered, models = plan.of_kind("lower"), plan.of_kind("compress")
    assert len(plan.of_kind("robustness")) == len(lowered) and len(models) == 1
    # One for a compressed model, however many formats and backends serve it.
    (compared,) = plan.of_kind("attribution")
    assert compared.request.parents["model"] == models[0].key


def test_a_wrong_key_of_the_section_is_one_line(tmp_path: Path) -> None:
    from bench.errors import MatrixError

    with pytest.raises(MatrixError, match=r"unknown key 'evaluate\.corruption'; did you mean 'corruptions'"):
        plan_of(tmp_path, MATRIX + "[evaluate]\ncorruption = true\n")


def test_quality_is_measured_on_the_same_items_clean_and_corrupted(results: Path, tmp_path: Path) -> None:
    parents = {"lowered": LOWERED, "model": TRAINED}
    measured = robustness.run(request_for(results, "robustness", parents, items=20), tmp_path)
    found = [entry for entry in measured if entry.metric == "corrupted_quality"]
    names = [entry.qualifier for entry in found]
    assert names[0] == "clean" and {"noise-3", "blur-5", "contrast-3"} <= set(names) and len(names) == 7
    assert {entry.n for entry in found} == {20} and {entry.method for entry in found} == {"accuracy"}
    assert all(0 <= entry.value <= 1 for entry in found)
    kept = {entry.qualifier: entry for entry in measured if entry.metric == "item_corrupted"}
    assert list(kept) == names and {entry.method for entry in kept.values()} == {"item_right"}
    for entry in found:
        assert np.mean(kept[entry.qualifier].samples) == pytest.approx(entry.value)


def test_a_workload_without_corruptions_says_so(monkeypatch, results: Path, tmp_path: Path) -> None:
    bare = replace(DIGITS, corruptions=None)
    monkeypatch.setattr(robustness, "load_workload", lambda *_: (bare, bare.data()))
    parents = {"lowered": LOWERED, "model": TRAINED}
    (found,) = robustness.run(request_for(results, "robustness", parents, items=20), tmp_path)
    assert found.value is None and "names no corruptions" in found.reason


def test_items_are_evenly_spaced() -> None:
    assert spaced(9, 3).tolist() == [0, 4, 8] and spaced(2, 5).tolist() == [0, 1]
    assert spaced(1, 1).tolist() == [0]


def test_attributions_of_the_same_model_agree_in_full(results: Path, tmp_path: Path) -> None:
    pytest.importorskip("captum")
    request = request_for(
        results, "attribution", {"model": TRAINED, "reference": TRAINED}, items=6, flipped_items=6
    )
    found = {(entry.metric, entry.qualifier): entry for entry in attribution.run(request, tmp_path)}
    assert found["attribution_agreement", "all"].value == pytest.approx(1)
    assert found["attribution_items", "all"].value == 6
    assert found["attribution_items", "flipped"].value == 0
    assert "no item has another answer" in found["attribution_agreement", "flipped"].reason


def test_attributions_of_another_model_agree_less(results: Path, tmp_path: Path) -> None:
    pytest.importorskip("captum")
    request = request_for(
        results, "attribution", {"model": COMPRESSED, "reference": TRAINED}, items=8, flipped_items=4
    )
    found = {(entry.metric, entry.qualifier): entry for entry in attribution.run(request, tmp_path)}
    agreement = found["attribution_agreement", "all"]
    assert 0 < agreement.value < 0.99 and agreement.low < agreement.value < agreement.high
    assert found["attribution_items", "flipped"].value <= 4


def test_without_captum_it_says_what_to_install(monkeypatch, results: Path, tmp_path: Path) -> None:
    from techniques.registry import CannotApply

    monkeypatch.setattr(attribution, "find_spec", lambda _: None)
    parents = {"model": TRAINED, "reference": TRAINED}
    with pytest.raises(CannotApply, match="pip install 'dl-efficiency-bench\\[attribution\\]'"):
        attribution.run(request_for(results, "attribution", parents, items=1, flipped_items=1), tmp_path)
