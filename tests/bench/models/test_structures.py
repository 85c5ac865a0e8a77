"""A compressed model rests as weights and JSON, and is the same model in any process."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import pytest
import torch

from bench.errors import StageError
from bench.models.files import load_model, save_model
from bench.models.structures import Replacement, Structure, read_structure
from bench.workloads import image_classification
from techniques.compression import COMPRESSIONS
from techniques.compression.channels import prune_channels
from techniques.registry import CannotApply
from tests.support.untrained import Untrained

EXAMPLE = torch.arange(3 * 8 * 8, dtype=torch.float32).reshape(1, 3, 8, 8) / 100

AGAIN = """
import sys
from pathlib import Path
import torch
from bench.models.files import load_model
torch.save(load_model(Path(sys.argv[1]))(torch.load(sys.argv[2])), sys.argv[3])
assert "torch_pruning" not in sys.modules
"""


def pruned() -> torch.nn.Module:
    return prune_channels(Structure("digits").build(), Untrained(EXAMPLE), share=0.5).eval()


def test_a_pruned_model_loads_in_a_fresh_process_without_pickle_and_gives_the_same_outputs(tmp_path):
    model = pruned()
    folder = tmp_path / "artifact"
    folder.mkdir()
    save_model(folder, Structure("digits").edited(model), model)
    assert sorted(path.suffix for path in folder.iterdir()) == [".json", ".safetensors"]
    torch.save(EXAMPLE, tmp_path / "example")
    arguments = [str(tmp_path / name) for name in ("artifact", "example", "outputs")]
    subprocess.run([sys.executable, "-c", AGAIN, *arguments], check=True)
    assert torch.equal(torch.load(tmp_path / "outputs"), model(EXAMPLE))


def test_a_student_is_built_from_its_width(tmp_path):
    structure = Structure("digits", width=0.25)
    model = structure.build()
    assert model.features[0].out_channels == 4
    save_model(tmp_path, structure, model)
    assert torch.equal(load_model(tmp_path)(EXAMPLE), model.eval()(EXAMPLE))


def test_a_student_of_another_architecture_is_the_model_of_the_workload_that_is_named(tmp_path):
    structure = Structure("fashion-mnist-vit", into="fashion-mnist-simplecnn")
    model = structure.build()
    assert isinstance(model, image_classification.SimpleCNN)
    save_model(tmp_path, structure.edited(model), model)
    assert read_structure(tmp_path, "fashion-mnist-vit").into == "fashion-mnist-simplecnn"
    images = torch.randn(1, *EXAMPLE.shape[1:2], 28, 28)
    assert torch.equal(load_model(tmp_path)(images), model.eval()(images))


@pytest.mark.parametrize("named", ["evil.py:make", "fashion-mnist-simplecm", "onnx:model.onnx"])
def test_a_file_cannot_name_code_as_a_student(tmp_path, named):
    Structure("digits", into=named).save(tmp_path)
    with pytest.raises(CannotApply, match="into: no workload"):
        read_structure(tmp_path).build()


def test_a_pruned_student_keeps_both_its_width_and_its_edits(tmp_path):
    structure = Structure("digits", width=0.5)
    model = prune_channels(structure.build(), Untrained(EXAMPLE), share=0.5)
    found = structure.edited(model)
    found.save(tmp_path)
    assert read_structure(tmp_path).width == 0.5
    assert read_structure(tmp_path).build().features[0].out_channels == 4


def test_a_model_that_is_not_changed_has_no_edits():
    structure = Structure("digits")
    assert structure.edited(structure.build()).edits == ()


def test_a_model_with_other_modules_is_refused():
    model = Structure("digits").build()
    model.features[1] = torch.nn.GELU()
    with pytest.raises(StageError, match="replaced modules"):
        Structure("digits").edited(model)


def changed_by(step: str, workload: str, inputs: torch.Tensor) -> torch.nn.Module:
    torch.manual_seed(0)
    technique = COMPRESSIONS.parse(step)
    return technique.create(Structure(workload).build(), Untrained(inputs[:1], [inputs])).eval()


IMAGES = torch.randn(2, 3, 28, 28, generator=torch.Generator().manual_seed(1))
CHARACTERS = torch.arange(80).view(2, 40)


@pytest.mark.parametrize(
    ("step", "workload", "inputs"),
    [
        ("low-rank:0.25", "digits", EXAMPLE),
        ("low-rank:0.25,convolutions=spatial", "fashion-mnist-resnet18", IMAGES),
        ("remove-layers:0.4", "fashion-mnist-resnet18", IMAGES),
        ("remove-layers:0.5", "shakespeare-gpt2", CHARACTERS),
        ("low-rank:0.25", "shakespeare-gpt2", CHARACTERS),
        ("prune-heads:0.5", "shakespeare-gpt2", CHARACTERS),
        ("prune-heads:0.34", "fashion-mnist-vit", IMAGES),
    ],
)
def test_what_a_step_replaced_is_built_again_and_gives_the_same_bits(step, workload, inputs, tmp_path):
    model = changed_by(step, workload, inputs)
    save_model(tmp_path, Structure(workload).edited(model), model)
    again = load_model(tmp_path, workload)
    assert torch.equal(again(inputs), model(inputs))
    assert sum(p.numel() for p in again.parameters()) < sum(
        p.numel() for p in Structure(workload).build().parameters()
    )


def test_steps_on_top_of_replaced_layers_are_built_again_too(tmp_path):
    model = changed_by("low-rank:0.5", "digits", EXAMPLE)
    save_model(tmp_path, Structure("digits").edited(model), model)
    pruned = prune_channels(load_model(tmp_path), Untrained(EXAMPLE), share=0.5).eval()
    (tmp_path / "second").mkdir()
    save_model(tmp_path / "second", read_structure(tmp_path).edited(pruned), pruned)
    assert torch.equal(load_model(tmp_path / "second")(EXAMPLE), pruned(EXAMPLE))


def test_a_student_is_built_from_its_depth(tmp_path):
    structure = Structure("fashion-mnist-vit", depth=0.5)
    model = structure.build().eval()
    assert len(model.blocks) == 2
    save_model(tmp_path, structure, model)
    assert torch.equal(load_model(tmp_path)(IMAGES), model(IMAGES))
    with pytest.raises(CannotApply, match="digits has no student of another depth"):
        Structure("digits", depth=0.5).build()


@pytest.mark.parametrize(
    ("layers", "problem"),
    [
        ([{"kind": "LSTM"}], "unknown kind of layer 'LSTM'"),
        ([{"kind": "Linear", "in_features": 2**20, "out_features": 2**20, "bias": True}], "larger than any"),
        ([{"kind": "Linear", "in_features": -1, "out_features": 2, "bias": True}], "sizes that no layer has"),
        ([{"kind": "Linear", "out_features": 2, "bias": True}], "sizes that no layer has"),
    ],
)
def test_a_hostile_replacement_is_refused(layers, problem, tmp_path):
    structure = Structure("digits", replacements=(Replacement("classifier.1", layers),))
    structure.save(tmp_path)
    with pytest.raises(StageError, match=problem):
        read_structure(tmp_path).build()


def test_a_replacement_of_a_module_that_is_not_there_is_refused(tmp_path):
    Structure("digits", replacements=(Replacement("nowhere.1", []),)).save(tmp_path)
    with pytest.raises(StageError, match=r"nowhere\.1"):
        read_structure(tmp_path).build()


def test_a_workload_without_students_says_so(monkeypatch):
    monkeypatch.setattr(image_classification, "DIGITS", replace(image_classification.DIGITS, student=None))
    with pytest.raises(CannotApply, match="digits has no student"):
        Structure("digits", width=0.5).build()
