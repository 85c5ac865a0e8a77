"""Models that are served as they are: found by what users have, refused in one line where they do not fit."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest
import torch

from bench.errors import StageError
from bench.workloads import WORKLOADS
from bench.workloads.given import Exported
from bench.workloads.loading import find_workload
from techniques.registry import CannotApply, TechniqueError

MINE = """
    import torch
    from torch import nn

    def make_model():
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 3)), torch.ones(5, 6)

    def only_a_model():
        return nn.Linear(6, 3)

    def two_inputs():
        return nn.Linear(6, 3), (torch.ones(5, 6), torch.ones(5, 6))
"""


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    path = tmp_path / "mine.py"
    path.write_text(textwrap.dedent(MINE))
    return path


def test_a_function_gives_a_model_and_the_inputs_it_is_served_at(mine: Path) -> None:
    workload = find_workload(f"module:{mine}:make_model")
    assert workload.data().test_inputs.shape == (5, 6) and workload.quality is None
    assert workload.model()(torch.ones(2, 6)).shape == (2, 3)
    with pytest.raises(CannotApply, match="no training data"):
        workload.loss(torch.ones(1), torch.ones(1))


def test_what_the_outputs_are_can_be_said(mine: Path) -> None:
    assert find_workload(f"module:{mine}:make_model").outputs == ""
    assert find_workload(f"module:{mine}:make_model,scores=false").outputs == "values"
    assert find_workload(f"module:{mine}:make_model,outputs=scores:1").outputs == "scores:1"
    with pytest.raises(TechniqueError, match="outputs='guess' must be scores"):
        find_workload(f"module:{mine}:make_model,outputs=guess")


@pytest.mark.parametrize(
    ("architecture", "labels", "kind"),
    [
        ("BertModel", 2, "values"),
        ("BertForSequenceClassification", 3, "scores:1"),
        ("BertForSequenceClassification", 1, "values"),
        ("BertForMaskedLM", 2, "scores:2"),
        ("BertForQuestionAnswering", 2, "scores:1"),
    ],
)
def test_a_hugging_face_model_scores_classes_where_its_head_does(
    tmp_path: Path, architecture: str, labels: int, kind: str
) -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.BertConfig(
        hidden_size=8, num_attention_heads=2, num_hidden_layers=1, num_labels=labels
    )
    config.architectures = [architecture]
    config.save_pretrained(tmp_path)
    assert find_workload(f"huggingface:{tmp_path}").outputs == kind


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("only_a_model", r"returns a Linear; it must return \(nn.Module, example inputs\)"),
        ("two_inputs", "example inputs must be one tensor, got a tuple of 2"),
    ],
)
def test_what_is_no_model_with_inputs_is_told_in_one_line(mine: Path, name: str, told: str) -> None:
    with pytest.raises(StageError, match=told):
        find_workload(f"module:{mine}:{name}")


def test_an_exported_program_is_served_at_its_own_inputs(tmp_path: Path) -> None:
    model = torch.nn.Sequential(torch.nn.Linear(6, 3), torch.nn.Dropout(0.5)).eval()
    inputs = torch.randn(4, 6)
    exported = torch.export.export(model, (inputs,), dynamic_shapes=({0: torch.export.Dim.AUTO},))
    torch.export.save(exported, tmp_path / "model.pt2")
    workload = find_workload(f"exported:{tmp_path / 'model.pt2'}")
    assert torch.equal(workload.data().test_inputs, inputs)
    served = workload.model()
    assert isinstance(served, Exported)
    assert torch.allclose(served.train()(inputs[:1]), model(inputs[:1]))  # never in training mode


def test_an_onnx_file_is_served_with_its_weights_counted(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    model = torch.nn.Linear(6, 3).eval()
    torch.onnx.export(model, (torch.ones(1, 6),), path, dynamo=True, external_data=False, verbose=False)
    workload = find_workload(f"onnx:{path}")
    served = workload.model()
    inputs = workload.data().test_inputs[:1]
    assert torch.allclose(served(inputs), model(inputs), atol=1e-5)
    assert served.parameter_counts() == (21, 21)


def test_an_onnx_file_whose_weights_lie_elsewhere_is_told_how_to_be_saved(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    model = torch.nn.Linear(64, 64).eval()
    torch.onnx.export(model, (torch.ones(1, 64),), path, dynamo=True, external_data=True, verbose=False)
    with pytest.raises(StageError, match="save it as one file"):
        find_workload(f"onnx:{path}")


def test_a_file_that_is_not_there_is_named() -> None:
    with pytest.raises(StageError, match=r"no-such.onnx: no such file"):
        find_workload("onnx:no-such.onnx")


def test_a_workload_of_ones_own_is_a_reference_whose_settings_are_traits() -> None:
    row = WORKLOADS.parse("my.py:make_workload,target=0.8,batch_size=16,optimizer=sgd:lr=0.5").row
    assert (row.implementation, row.target, row.batch_size) == ("my.py:make_workload", 0.8, 16)
    assert row.optimizer == "sgd:lr=0.5" and not row.inference_only
    assert WORKLOADS.parse("own:my.py:make_workload").text == WORKLOADS.parse("my.py:make_workload").text


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("huggingface", "needs its model; write huggingface:MODEL"),
        ("my.py:make,batch_size=0", "batch_size must be"),
        ("my.py:make,quality_metric=acuracy", "did you mean 'accuracy'"),
        ("my.py:make,tarket=1", "did you mean 'target'"),
    ],
)
def test_a_reference_that_lacks_something_is_told(text: str, told: str) -> None:
    with pytest.raises(TechniqueError, match=told):
        WORKLOADS.parse(text)
