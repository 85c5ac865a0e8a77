"""From a workload to its record: outputs of every kind and in all numbers are judged as what they are."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from bench.errors import StageError
from bench.models.files import WEIGHTS, load_outputs
from bench.records import Measurement
from bench.results.artifacts import artifact_folder
from bench.stages import compress, evaluate, lower, teach, train
from techniques.registry import CannotApply
from techniques.weights import load_state
from tests.support.stage_requests import request_of

MINE = """
    import torch
    from torch import nn
    from torch.nn import functional as F
    from bench.workloads.classification import accuracy_and_recall, binary_accuracy
    from bench.workloads.workload import Data, Workload

    X = torch.randn(96, 16, generator=torch.Generator().manual_seed(1))

    def made(net, inputs=X, last=nn.Identity, cast=lambda model: model):
        torch.manual_seed(0)
        return cast(nn.Sequential(net(), last()).eval()), inputs

    mlp = lambda outputs: lambda: nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, outputs))
    probability = lambda: made(mlp(1), last=lambda: nn.Sequential(nn.Sigmoid(), nn.Flatten(0)))
    logit = lambda: made(mlp(1))
    IMAGES = torch.randn(8, 1, 6, 6, generator=torch.Generator().manual_seed(1))
    segmentation = lambda: made(lambda: nn.Conv2d(1, 3, 3, padding=1), IMAGES)
    half = lambda: made(mlp(4), X.half(), cast=lambda model: model.half())
    brain = lambda: made(mlp(4), X.bfloat16(), cast=lambda model: model.bfloat16())
    double = lambda: made(mlp(4), X.double(), cast=lambda model: model.double())

    class Masking(nn.Module):
        def forward(self, scores):
            hidden = torch.tensor([False, False, True, True])
            return {"logits": scores.masked_fill(hidden, -1e9), "hidden": scores, "norm": scores.norm()}

    masked = lambda: made(mlp(4), last=Masking)

    class Complex(nn.Module):
        def __init__(self, width=1.0):
            super().__init__()
            self.weight = nn.Parameter(torch.randn(16, 2, dtype=torch.complex64) / 4)

        def forward(self, batch):
            return (batch.to(self.weight.dtype) @ self.weight).imag

    def data():
        return Data(X[:64], (X[:64, 0] > 0).long(), X[64:], (X[64:, 0] > 0).long())

    def binary():
        own = data()
        return Data(own.train_inputs, own.train_targets[:, None].float(),
                    own.test_inputs, own.test_targets[:, None].float())

    trained_complex = lambda: Workload(data, lambda x: x, Complex, F.cross_entropy, accuracy_and_recall)
    trained_logit = lambda: Workload(
        binary, lambda x: x, mlp(1), lambda o, t: F.binary_cross_entropy_with_logits(o, t),
        binary_accuracy(0.0), student=lambda width: mlp(1)(), classes=("no", "yes"),
    )
    unclear = lambda: Workload(
        data, lambda x: x, lambda: nn.Unflatten(1, (4, 4)), lambda o, t: o.square().mean(),
        lambda o, t: {"accuracy": 0.5}
    )
    trained_double = lambda: Workload(
        lambda: Data(X[:64].double(), (X[:64, 0] > 0).long(), X[64:].double(), (X[64:, 0] > 0).long()),
        lambda x: x, lambda: mlp(2)().double(), F.cross_entropy, accuracy_and_recall,
    )
"""
SETTINGS = {
    **{"test_samples": None, "optimizer": "adam:lr=0.02", "seed": 0, "steps": 12, "target": 1.0},
    **{"evaluations_per_epoch": 1, "precision": "fp32", "format": None, "batch_size": 8},
    **{"recover_steps": 3, "student_steps": 12, "quality_metric": "accuracy"},
}
TRAINED, LOWERED, TAUGHT = "a" * 64, "b" * 64, "c" * 64
Stage = Callable[..., dict[tuple[str, str], Measurement]]


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    """Run one stage of a workload of MINE, or of an ONNX file, and return what it measured."""
    (tmp_path / "mine.py").write_text(textwrap.dedent(MINE))

    def run(module: object, workload: str, key: str = "d" * 64, **settings: object) -> dict:
        place = {"own": f"own:{tmp_path}/mine.py", "module": f"module:{tmp_path}/mine.py"}
        kind, _, name = workload.partition(":")
        text = f"{place[kind]}:{name}" if kind in place else workload
        asked = SETTINGS | {"workload": text, "backend": "cpu-eager"} | settings
        parents = {"model": TRAINED, "reference": TRAINED, "lowered": LOWERED, "teacher": TAUGHT}
        request = request_of(module.__name__.rpartition(".")[2], tmp_path, asked, key=key, parents=parents)
        folder = artifact_folder(tmp_path, key)
        folder.mkdir(parents=True, exist_ok=True)
        return {(entry.metric, entry.qualifier): entry for entry in module.run(request, folder)}

    return run


def served(stage: Stage, workload: str, **settings: object) -> dict[tuple[str, str], Measurement]:
    stage(train, workload, TRAINED)
    stage(lower, workload, LOWERED, **settings)
    return stage(evaluate, workload, **settings)


@pytest.mark.parametrize(
    ("workload", "threshold"), [("module:probability", 0.5), ("module:logit,outputs=logit", 0.0)]
)
def test_one_number_for_each_sample_is_judged_by_its_threshold(
    workload: str, threshold: float, stage: Stage, tmp_path: Path
) -> None:
    """The share of decisions kept is that of ONNX Runtime called by itself."""
    found = served(stage, workload, backend="onnxruntime", format="int8-dynamic")
    session = onnxruntime.InferenceSession(str(artifact_folder(tmp_path, LOWERED) / "model.onnx"))
    own = load_outputs(artifact_folder(tmp_path, TRAINED)).main.flatten().numpy()
    x = torch.randn(96, 16, generator=torch.Generator().manual_seed(1)).numpy()
    name = session.get_inputs()[0].name
    outputs = np.concatenate([session.run(None, {name: part})[0].ravel() for part in np.split(x, 12)])
    kept = float(((outputs > threshold) == (own > threshold)).mean())
    assert found["quality", ""].value == found["top1_agreement", ""].value == pytest.approx(kept)
    assert 0 < float((own > threshold).mean()) < 1


def test_one_unbounded_number_is_asked_for(stage: Stage) -> None:
    with pytest.raises(
        StageError, match=r"shape \(samples, 1\).*outputs= to the workload: probability, logit"
    ):
        stage(train, "module:logit", TRAINED)


def test_a_workload_whose_loss_and_targets_tell_nothing_is_asked_before_it_trains(stage: Stage) -> None:
    with pytest.raises(StageError, match=r'is unknown; add outputs="scores:AXIS"'):
        stage(train, "own:unclear", TRAINED)


@pytest.mark.parametrize("kind", ["half", "brain", "double"])
def test_checkpoints_of_other_numbers_are_valid_in_fp32(kind: str, stage: Stage, tmp_path: Path) -> None:
    told = stage(train, f"module:{kind}", TRAINED)
    assert told["reference_bits", ""].value == (64 if kind == "double" else 32)
    expected = {"half": "fp16", "brain": "bf16", "double": "fp64"}[kind]
    assert told["reference_bits", ""].method == f"weights are {expected}"
    found = served(stage, f"module:{kind}", backend="onnxruntime")
    assert found["valid", ""].value == 1 and 0 <= found["relative_error", ""].value < 1e-5
    assert load_outputs(artifact_folder(tmp_path, TRAINED)).main.itemsize == (8 if kind == "double" else 4)


def test_classes_of_pixels_are_on_the_axis_that_is_said(stage: Stage, tmp_path: Path) -> None:
    found = served(stage, "module:segmentation,outputs=scores:1", precision="bf16")
    kept = load_outputs(artifact_folder(tmp_path, TRAINED))
    assert kept.kind is not None and kept.kind.answers(kept.main).shape == (8, 6, 6)
    assert found["quality", ""].method == "answers kept, scores:1: declared"


def test_masks_hide_no_error_and_further_outputs_are_named(stage: Stage) -> None:
    left_out = stage(train, "module:masked", TRAINED)["outputs_left_out", ""]
    assert (left_out.value, left_out.method) == (1, "norm")
    found = served(stage, "module:masked", precision="bf16")
    assert found["relative_error", ""].value > 1e-4  # of bf16; over -1e9 it would be 0
    assert "192 of 384 masked" in found["relative_error", ""].method
    assert found["further_error", "hidden"].value > 1e-4 and found["valid", ""].value == 1


def test_complex_weights_are_trained_and_served_as_they_are(stage: Stage, tmp_path: Path) -> None:
    trained = stage(train, "own:trained_complex", TRAINED, steps=40)
    weight = load_state(artifact_folder(tmp_path, TRAINED) / WEIGHTS)["weight"]
    assert weight.is_complex() and weight.imag.abs().min() > 0
    stage(lower, "own:trained_complex", LOWERED)
    found = stage(evaluate, "own:trained_complex")
    assert found["quality", ""].value == trained["quality", ""].value > 0.7
    with pytest.raises(CannotApply, match="the model has complex weights, which ONNX does not support"):
        stage(lower, "own:trained_complex", "e" * 64, backend="onnxruntime")


def test_doubles_are_trained_in_fp64_and_refused_as_fp32(stage: Stage, tmp_path: Path) -> None:
    with pytest.raises(CannotApply, match=r'weights are fp64.*precision = "fp64"'):
        stage(train, "own:trained_double", TRAINED)
    stage(train, "own:trained_double", TRAINED, precision="fp64")
    assert load_state(artifact_folder(tmp_path, TRAINED) / WEIGHTS)["0.weight"].dtype == torch.float64


def test_a_binary_logit_is_learned_by_a_student(stage: Stage) -> None:
    told = stage(train, "own:trained_logit", TRAINED, steps=40)
    assert told["quality", ""].value > 0.6
    stage(teach, "own:trained_logit", TAUGHT)
    taught = stage(compress, "own:trained_logit", technique="distill:0.5,alpha=1", student_steps=60)
    assert taught["quality", "recovered"].value > 0.6  # by its teacher alone
    stage(lower, "own:trained_logit", LOWERED)
    found = stage(evaluate, "own:trained_logit")
    assert {("class_recall", "no"), ("class_recall", "yes")} <= found.keys()


def test_labels_of_an_onnx_file_are_compared_as_they_are(stage: Stage, tmp_path: Path) -> None:
    weights = np.random.default_rng(0).standard_normal((16, 4)).astype("float32")
    nodes = [
        helper.make_node("MatMul", ["x", "W"], ["scores"]),
        helper.make_node("ArgMax", ["scores"], ["label"], axis=1, keepdims=0),
    ]
    info = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "graph",
        [info("x", TensorProto.FLOAT, ["N", 16])],
        [info("label", TensorProto.INT64, ["N"]), info("scores", TensorProto.FLOAT, ["N", 4])],
        [numpy_helper.from_array(weights, "W")],
    )
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), tmp_path / "m.onnx")
    found = served(stage, f"onnx:{tmp_path}/m.onnx", backend="onnxruntime")
    assert found["quality", ""].value == 1 and "labels: integers" in found["quality", ""].method
    assert found["relative_error", ""].reason == "the outputs are labels"
    assert found["further_error", "scores"].value < 1e-5
