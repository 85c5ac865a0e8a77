"""Models of PyTorch as plain code and safetensors: they give the same numbers without the suite."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from techniques.backends import BACKENDS
from techniques.backends.eager import Eager
from techniques.backends.exports import CODE, PROGRAM, WEIGHTS, Export, Lowered, array_of, eager
from techniques.backends.protocol import Numerics
from techniques.backends.training import TrainingOptions
from techniques.registry import CannotApply, load_reference

FP32 = Numerics(None, "fp32")
IMAGES = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))


class Tied(nn.Module):
    """Two layers of one weight, a buffer, and two outputs."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second = nn.Linear(8, 8), nn.Linear(8, 8)
        self.second.weight = self.first.weight
        self.register_buffer("scale", torch.full((8,), 2.0), persistent=False)

    def forward(self, batch: torch.Tensor) -> dict[str, torch.Tensor]:
        hidden = self.first(batch).relu() * self.scale
        return {"hidden": hidden, "logits": self.second(hidden) + torch.tensor(float("inf")).reciprocal()}


class Branching(nn.Module):
    """A choice that the data makes, which is no list of operators."""

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        return torch.cond(batch.sum() > 0, lambda x: x + 1, lambda x: x - 1, (batch,))


def net() -> nn.Module:
    torch.manual_seed(0)
    features = [nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.Dropout(0.5), nn.Flatten()]
    return nn.Sequential(*features, nn.Linear(1024, 64), nn.ReLU(), nn.Linear(64, 32)).eval()


def exported(
    tmp_path: Path, make: Any, batch: torch.Tensor, numerics: Numerics = FP32, **options: Any
) -> tuple[Export, list[np.ndarray], list[np.ndarray]]:
    """Return the export of a model, the outputs of its program, and those of the script's lines."""
    backend, folder, to = Eager("cpu", TrainingOptions(**options)), tmp_path / "lowered", tmp_path / "to"
    folder.mkdir()
    to.mkdir()
    backend.lower(make(), batch, numerics, [], folder)
    program = backend.load(folder, make, numerics, 1)
    prepared = program.prepare(batch)
    array = array_of(prepared)
    expected = [tensor.numpy() for tensor in program.to_tensors(program(prepared))]
    export = eager(Lowered(folder, program, prepared, numerics, torch.get_num_threads()), to)
    names: dict[str, Any] = {"here": to, "batch": array}
    exec("\n".join((*export.imports, *export.lines)), names)
    return export, expected, names["outputs"]


def assert_same(found: list[np.ndarray], expected: list[np.ndarray]) -> None:
    assert len(found) == len(expected)
    for own, wanted in zip(found, expected, strict=True):
        np.testing.assert_array_equal(own, wanted)


def test_code_and_weights_give_the_same_numbers(tmp_path: Path) -> None:
    export, expected, found = exported(tmp_path, net, IMAGES)
    assert export.files == (CODE, WEIGHTS) and export.packages == ("torch", "safetensors")
    assert_same(found, expected)
    code = (tmp_path / "to" / CODE).read_text()
    assert "torch.ops.aten.conv2d" in code and "bench" not in code and "techniques" not in code


def test_every_output_of_a_model_with_tied_weights_comes_along(tmp_path: Path) -> None:
    batch = torch.randn(2, 8, generator=torch.Generator().manual_seed(1))
    _, expected, found = exported(tmp_path, lambda: Tied().eval(), batch)
    assert len(found) == 2
    assert_same(found, expected)
    kept = load_file(tmp_path / "to" / WEIGHTS)
    assert sum(tensor.shape == (8, 8) for tensor in kept.values()) == 1


@pytest.mark.parametrize(
    "numerics",
    [
        Numerics(None, "bf16"),
        Numerics("int8-weight", "bf16"),
        Numerics("int4-weight", "bf16"),
        Numerics("int8-dynamic", "fp32"),
    ],
    ids=lambda numerics: f"{numerics.format} {numerics.precision}",
)
def test_numbers_in_formats_and_other_precisions_are_kept(tmp_path: Path, numerics: Numerics) -> None:
    _, expected, found = exported(tmp_path, net, IMAGES, numerics)
    assert_same(found, expected)


def test_weights_get_their_layout_back(tmp_path: Path) -> None:
    export, expected, found = exported(tmp_path, net, IMAGES, channels_last=True)
    assert any("channels_last" in line for line in export.lines)
    assert_same(found, expected)


def test_a_graph_with_graphs_inside_is_a_program_of_torch_export(tmp_path: Path) -> None:
    batch = torch.ones(2, 3)
    export, expected, found = exported(tmp_path, lambda: Branching().eval(), batch)
    assert export.files == (PROGRAM,) and "control flow" in export.note
    assert_same(found, expected)


def test_what_is_no_module_is_refused(tmp_path: Path) -> None:
    class Other:
        pass

    with pytest.raises(CannotApply, match="only a module of PyTorch"):
        eager(Lowered(tmp_path, Other(), IMAGES, FP32, 1), tmp_path)  # type: ignore[arg-type]


def test_every_row_refers_to_a_function_that_is_there() -> None:
    rows = [row for row in BACKENDS.rows().values() if row.export]
    assert {"cpu-eager", "cpu-inductor", "onnxruntime", "openvino", "executorch"} <= {r.name for r in rows}
    assert all(callable(load_reference(row.export)) for row in rows)


def test_openvinos_script_sets_the_properties_that_were_measured(tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    pytest.importorskip("nncf")
    row = BACKENDS.get("openvino")
    if row.unavailable() is not None:
        pytest.skip(str(row.unavailable()))
    backend = BACKENDS.parse("openvino:sparse_weights=0.25").create()
    folder, to = tmp_path / "lowered", tmp_path / "to"
    folder.mkdir()
    to.mkdir()
    try:
        backend.lower(net(), IMAGES, FP32, [], folder)
    except CannotApply as reason:  # on a CPU without AMX
        pytest.skip(str(reason))
    program = backend.load(folder, net, FP32, 1)
    export = load_reference(row.export)(Lowered(folder, program, program.prepare(IMAGES), FP32, 1), to)
    assert any('"CPU_SPARSE_WEIGHTS_DECOMPRESSION_RATE": "0.25"' in line for line in export.lines)
    names: dict[str, Any] = {"here": to, "batch": IMAGES.numpy()}
    exec("\n".join((*export.imports, *export.lines)), names)
    expected = [tensor.numpy() for tensor in program.to_tensors(program(program.prepare(IMAGES)))]
    np.testing.assert_array_equal(names["outputs"][0], expected[0])


def test_the_code_is_a_module_of_its_own(tmp_path: Path) -> None:
    _, expected, _ = exported(tmp_path, net, IMAGES)
    model = runpy.run_path(str(tmp_path / "to" / CODE))["model"]
    with torch.inference_mode():
        (found,) = model(load_file(tmp_path / "to" / WEIGHTS), IMAGES)
    np.testing.assert_array_equal(found.numpy(), expected[0])
