"""`"auto"`: the backends that run on this machine, and how it tells of those that do not."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.errors import MatrixError
from bench.matrix.reading import read_matrix
from techniques.backends import BACKENDS, hardware
from tests.support.matrix_files import QUICK, written

AUTO = QUICK.replace('backend = ["cpu-eager", "cpu-inductor", "onnxruntime"]', 'backend = "auto"')
TRAIN_AUTO = AUTO.replace("[train]", '[train]\nbackend = "auto"')


@pytest.fixture
def without_gpu_and_compiler(monkeypatch):
    """A machine that has neither."""
    monkeypatch.setattr(hardware, "_nvidia_gpus", lambda: 0)
    monkeypatch.setattr(hardware, "_JETSON", Path("/nowhere"))
    monkeypatch.setattr(hardware.shutil, "which", lambda name: None)


def backends(matrix) -> list[str]:
    return list(dict.fromkeys(cell.backend for cell in matrix.cells))


def test_auto_takes_every_backend_that_runs_here_in_the_tables_order(tmp_path):
    rows = {name: row for name, row in BACKENDS.rows().items() if row.serves and not row.only_generates}
    running = [name for name, row in rows.items() if row.unavailable() is None]
    matrix = read_matrix(written(tmp_path, AUTO))
    assert backends(matrix) == running
    assert {out.value for out in matrix.left_out} == set(rows) - set(running)


def test_what_auto_leaves_out_is_told_by_name_and_reason(tmp_path, without_gpu_and_compiler):
    matrix = read_matrix(written(tmp_path, AUTO))
    assert {"cpu-inductor", "cuda-eager"}.isdisjoint(backends(matrix))
    told = {out.value: str(out) for out in matrix.left_out}
    assert told["cpu-inductor"].startswith('[infer] backend = "auto" leaves out cpu-inductor: requires a C++')
    assert "requires an NVIDIA GPU" in told["cuda-eager"]


def test_auto_in_train_takes_what_runs_here_and_trains(tmp_path, without_gpu_and_compiler):
    matrix = read_matrix(written(tmp_path, TRAIN_AUTO))
    runs = {name for name, row in BACKENDS.rows().items() if row.trains and row.unavailable() is None}
    assert {cell.train_backend for cell in matrix.cells} == runs >= {"cpu-eager"}
    assert {cell.backend for cell in matrix.cells} > {"onnxruntime"}
    told = {out.value: out.reason for out in matrix.left_out if out.section == "train"}
    assert "does not support training" in told["onnxruntime"]
    assert "apt install g++" in told["cpu-inductor"]


def test_auto_in_a_list_keeps_what_is_named_beside_it(tmp_path, without_gpu_and_compiler):
    matrix = read_matrix(written(tmp_path, AUTO.replace('"auto"', '["cpu-inductor", "auto"]')))
    assert backends(matrix)[:2] == ["cpu-inductor", "cpu-eager"]
    # Its cells are there, to be skipped with the reason.
    assert "cpu-inductor" not in {out.value for out in matrix.left_out}


def test_a_filter_chooses_among_what_auto_takes(tmp_path, without_gpu_and_compiler):
    matrix = read_matrix(written(tmp_path, TRAIN_AUTO), "backend=onnx*|cpu-inductor,optimizer=adam")
    assert backends(matrix) == ["onnxruntime"]
    assert {cell.optimizer for cell in matrix.cells} == {"adam"}
    # What the filter would not have taken either is not told.
    assert {out.value for out in matrix.left_out if out.section == "infer"} == {"cpu-inductor"}


def test_a_filter_for_what_auto_leaves_out_gets_one_line_with_the_reason(tmp_path, without_gpu_and_compiler):
    with pytest.raises(MatrixError, match=r"^[^\n]+$") as caught:
        read_matrix(written(tmp_path, AUTO), "backend=cuda-eager")
    assert "leaves out cuda-eager: requires an NVIDIA GPU" in str(caught.value)
    assert "cpu-inductor" not in str(caught.value)


def test_a_rule_about_a_backend_of_another_machine_is_no_mistake(tmp_path, without_gpu_and_compiler):
    rule = '[[exclude]]\nbackend = "cuda-eager"\ncompression = "int8-*"\n'
    assert read_matrix(written(tmp_path, AUTO + rule)).cells


def test_auto_where_nothing_runs_gets_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr("techniques.registry.importlib.util.find_spec", lambda name: None)
    with pytest.raises(MatrixError, match=r"^[^\n]+$") as caught:
        read_matrix(written(tmp_path, AUTO))
    assert '[infer] backend: "auto" selects no backend: none runs here' in str(caught.value)


def test_auto_means_nothing_on_an_axis_that_is_no_backend(tmp_path):
    with pytest.raises(MatrixError, match="unknown optimizer 'auto'"):
        read_matrix(written(tmp_path, QUICK.replace('["sgd", "adam", "rmsprop"]', '"auto"')))
