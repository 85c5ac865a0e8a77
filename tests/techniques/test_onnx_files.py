"""A model that is an ONNX file on the backends that read one; what cannot become one is told in a line."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from bench.matrix.reading import read_matrix
from bench.plan.lookup import CellTechniques, Lookup
from bench.plan.reasons import Reasons
from bench.workloads.onnx_model import OnnxModel
from techniques.backends import BACKENDS
from techniques.backends.onnx_file import fix_batch, write_onnx
from techniques.backends.protocol import Numerics
from techniques.registry import TechniqueError

BATCH = torch.randn(4, 1, 8, 8, generator=torch.Generator().manual_seed(0))
MODEL = torch.nn.Sequential(
    torch.nn.Conv2d(1, 8, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(8 * 36, 32)
).eval()
READERS = ["onnxruntime", "openvino"]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "given.onnx"
    dynamic = ({0: torch.export.Dim("batch")},)
    torch.onnx.export(
        MODEL, (BATCH,), path, dynamo=True, external_data=False, verbose=False, dynamic_shapes=dynamic
    )
    return path


@pytest.mark.parametrize("format_", [None, "int8-static", "int4-weight"])
@pytest.mark.parametrize("backend", READERS)
def test_a_file_is_lowered_as_the_model_it_came_from(
    tmp_path: Path, file: Path, backend: str, format_: str | None
) -> None:
    if reason := BACKENDS.get(backend).unavailable():
        pytest.skip(reason)
    runtime = BACKENDS.default(backend).create()
    given = OnnxModel(file)
    runtime.lower(given, BATCH, Numerics(format_, "fp32"), [BATCH], tmp_path)
    program = runtime.load(tmp_path, lambda: given, Numerics(format_, "fp32"), 1)
    outputs = program.to_tensor(program(program.prepare(BATCH))).flatten()
    expected = MODEL(BATCH).detach().flatten()
    assert torch.cosine_similarity(outputs, expected, dim=0) > (0.9999 if format_ is None else 0.98)


@pytest.mark.parametrize("backend", ["cpu-eager", *READERS])
def test_a_plan_names_the_backends_that_read_a_file(tmp_path: Path, file: Path, backend: str) -> None:
    if reason := BACKENDS.get(backend).unavailable():
        pytest.skip(reason)
    path = tmp_path / "mine.toml"
    infer = f'[infer]\ncompression = "none"\nbackend = "{backend}"\n'
    path.write_text(f'[train]\nworkload = "onnx:{file}"\noptimizer = "none"\n{infer}')
    (cell,) = read_matrix(str(path)).cells
    reason = Reasons().reason(CellTechniques.of(cell, Lookup()))
    assert (reason is None) == (backend in READERS)
    assert not reason or "cpu-eager does not read ONNX files; these do: onnxruntime, op" in reason.text


def test_an_open_batch_is_fixed_for_engines_of_one_shape(file: Path) -> None:
    import onnx

    fix_batch(file, (4, 1, 8, 8))
    (entry,) = onnx.load(file).graph.input
    assert [size.dim_value for size in entry.type.tensor_type.shape.dim] == [4, 1, 8, 8]


class Branches(torch.nn.Module):
    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        return batch * 2 if batch.sum().item() > 0 else batch


def test_what_cannot_be_exported_is_told_with_its_cause_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(TechniqueError) as told:
        write_onnx(Branches().eval(), torch.ones(2, 3), tmp_path / "none.onnx")
    line = str(told.value)
    assert line.startswith("cannot be exported to ONNX: ") and "data-dependent" in line
    assert "\n" not in line and "\x1b" not in line


def test_a_file_names_no_path_of_the_machine_it_was_made_on(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    write_onnx(MODEL, BATCH, path)
    assert b".py" not in path.read_bytes()
