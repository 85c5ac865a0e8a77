"""A live module, and models of the user's own, from the call or command to the table."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest
import torch

import bench
from bench.errors import BenchError
from bench.measuring import save_program
from bench.session import RunOptions, execute, prepare
from bench.store import Store

MATRIX = """
[train]
workload = "digits"
optimizer = "tuned"
[infer]
compression = ["none", "finetune"]
backend = ["cpu-eager", "onnxruntime"]
"""

MINE = """
    import torch

    class Dictionary(torch.nn.Module):
        def forward(self, batch):
            return {"logits": batch}

    def good():
        torch.manual_seed(0)
        return torch.nn.Linear(6, 3), torch.ones(5, 6)

    def bad():
        return Dictionary(), torch.ones(5, 6)
"""


def test_a_live_module_is_measured_in_one_call(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(20, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3))
    table = bench.measure(
        model,
        torch.randn(10, 20),
        compressions=["none"],
        backends=["cpu-eager", "onnxruntime"],
        max_launches=1,
        results=tmp_path,
    )
    assert list(table["backend"]) == ["cpu-eager", "onnxruntime"]
    assert set(table["state"]) <= {"ok", "INVALID"}  # a busy machine disturbs every launch
    assert (table["latency_s"] > 0).all() and list(table["quality"]) == [1.0, 1.0]
    assert (table["dense_flops"] == 2 * (20 * 8 + 8 * 3)).all()
    assert model.training  # left as it was


def test_weights_of_any_numbers_name_a_module(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = torch.nn.Linear(4, 2).bfloat16()
    inputs = torch.ones(3, 4, dtype=torch.bfloat16)
    first = save_program(model, inputs, tmp_path)
    with torch.no_grad():
        model.weight[0, 0] += 1
    assert save_program(model, inputs, tmp_path) != first


def test_a_module_that_cannot_be_exported_is_told_in_one_line(tmp_path: Path) -> None:
    class Branches(torch.nn.Module):
        def forward(self, batch: torch.Tensor) -> torch.Tensor:
            return batch if batch.sum() > 0 else -batch

    with pytest.raises(BenchError, match=r"cannot be exported by torch.export: [^\n]+$"):
        save_program(Branches(), torch.ones(2, 3), tmp_path)


def test_a_model_that_does_not_fit_has_one_line_for_each_cell_and_the_others_run(tmp_path: Path) -> None:
    mine, matrix = tmp_path / "mine.py", tmp_path / "mine.toml"
    mine.write_text(textwrap.dedent(MINE))
    matrix.write_text(MATRIX)
    workloads = (f"module:{mine}:good", f"module:{mine}:bad")
    options = RunOptions(str(matrix), tmp_path / "results", workloads=workloads, smoke=True)
    outcome = execute(prepare(options), lambda run_id: None)
    assert not outcome.ok
    store = Store.open(tmp_path / "results", create=False)
    launches = store.launches(outcome.run_id).set_index("stage_key")
    cells = store.cells(outcome.run_id)
    store.close()
    for cell in cells:
        end = launches.loc[cell.stages["evaluate"]]
        if ":bad" in cell.name:
            assert end["state"] == "skipped" and end["reason"].endswith(
                "the model returns a dict of logits, not one tensor: wrap it"
            )
        elif "finetune" in cell.name:
            assert end["state"] == "skipped" and "nothing to train on" in end["reason"]
        else:
            assert end["state"] == "ok"
