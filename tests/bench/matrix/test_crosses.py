"""Several crosses in one matrix, and axes that are tied: the union of their cells, and mistakes in them."""

from __future__ import annotations

import pytest

from bench.errors import MatrixError
from bench.matrix.reading import read_matrix
from bench.workloads import WORKLOADS
from tests.support.matrix_files import written

CROSSES = """
[[cross]]
about = "training"
train = { workload = ["digits", "diabetes-mlp"], optimizer = ["sgd", "adam"] }
infer = { compression = "none", backend = "cpu-eager" }

[[cross]]
about = "serving"
zip = [["optimizer", "workload"], ["infer.backend", "precision"]]
[cross.train]
workload = ["digits", "diabetes-mlp"]
optimizer = ["adam", "tuned"]
[cross.infer]
compression = ["none", "int8-static"]
backend = ["cpu-eager", "onnxruntime"]
precision = ["bf16", "fp32"]
[[cross.exclude]]
workload = "diabetes-mlp"
compression = "int8-static"
"""


def summary(matrix):
    return {
        (cell.workload, cell.optimizer, cell.compression, cell.backend, cell.precision)
        for cell in matrix.cells
    }


def test_cells_are_the_union_of_crosses_and_tied_axes_advance_together(tmp_path):
    tuned = WORKLOADS.get("diabetes-mlp").optimizer
    trained = {
        (workload, optimizer, "none", "cpu-eager", "fp32")
        for workload in ("digits", "diabetes-mlp")
        for optimizer in ("sgd", "adam")
    }
    served = {
        (workload, optimizer, compression, backend, precision)
        for workload, optimizer, recipes in [
            ("digits", "adam", ("none", "int8-static")),
            ("diabetes-mlp", tuned, ("none",)),
        ]
        for compression in recipes
        for backend, precision in [("cpu-eager", "bf16"), ("onnxruntime", "fp32")]
    }
    matrix = read_matrix(written(tmp_path, CROSSES))
    assert summary(matrix) == trained | served and len(matrix.cells) == len(trained | served)


def test_a_cell_of_two_crosses_is_there_once_and_top_rules_are_for_all(tmp_path):
    text = CROSSES.replace('backend = "cpu-eager"', 'backend = ["cpu-eager", "onnxruntime"]')
    text += '[[exclude]]\nbackend = "cpu-eager"\n'
    matrix = read_matrix(written(tmp_path, text))
    assert {cell.backend for cell in matrix.cells} == {"onnxruntime"}
    assert len(matrix.cells) == len(set(matrix.cells)) == 4 + 1 + 1


def test_a_cross_at_the_top_comes_before_the_others(tmp_path):
    top = '[train]\nworkload = "digits"\noptimizer = "momentum"\n'
    top += '[infer]\ncompression = "none"\nbackend = "cpu-eager"\n'
    matrix = read_matrix(written(tmp_path, top + CROSSES))
    assert matrix.cells[0].optimizer == "momentum" and len(matrix.cells) == 1 + 4 + 6


def test_filters_choices_of_workloads_and_replacements_are_for_every_cross(tmp_path):
    path = written(tmp_path, CROSSES)
    digits = read_matrix(path, "workload=digits")
    assert {cell.workload for cell in digits.cells} == {"digits"} and len(digits.cells) == 2 + 4
    # A rule about a workload that the user has replaced, or left out, is no mistake.
    mine = read_matrix(path, workloads=["breast-cancer-mlp"])
    assert {cell.workload for cell in mine.cells} == {"breast-cancer-mlp"} and len(mine.cells) == 2 + 8
    instead = read_matrix(path, substitutes={"digits": "breast-cancer-mlp"})
    assert {cell.workload for cell in instead.cells} == {"breast-cancer-mlp", "diabetes-mlp"}


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            '"infer.backend", "precision"',
            '"backend", "prezision"',
            "zip 2: unknown axis 'prezision'",
        ),
        (
            '"infer.backend", "precision"',
            '"backend"',
            "zip 2: must name two axes or more",
        ),
        (
            '"infer.backend", "precision"',
            '"workload", "precision"',
            "zip 2: workload is tied twice",
        ),
        ('["bf16", "fp32"]', '["bf16", "fp32", "fp16"]', "backend has 2, precision has 3"),
        (
            'zip = [["optimizer", "workload"], ',
            "zip = [1, ",
            "zip.0: must be a list of lists of axes",
        ),
        ('about = "serving"', "abowt = 1", "cross 2: unknown key 'abowt'; did you mean 'about'?"),
        ("precision = [", "prezision = [", "cross 2: unknown key 'infer.prezision'"),
        ("compression = [", "batch_size = [", "cross 2: 'infer.compression' is missing"),
        (
            'optimizer = ["adam", "tuned"]',
            'optimizer = ["addam", "tuned"]',
            "[train] optimizer: unknown",
        ),
        ('compression = "int8-static"', 'compression = "int4"', "cross 2: exclude rule 1: no cell has"),
        ("[[cross]]", "[cross]", "cross"),
    ],
)
def test_a_mistake_in_a_cross_gets_one_line_that_says_which(tmp_path, old, new, message):
    assert old in CROSSES
    with pytest.raises(MatrixError) as caught:
        read_matrix(written(tmp_path, CROSSES.replace(old, new)))
    assert message in str(caught.value) and "cross" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_with_neither_train_nor_crosses_says_what_to_write(tmp_path):
    with pytest.raises(
        MatrixError, match=r"'train' is missing; write \[train\] and \[infer\], or \[\[cross\]\]"
    ):
        read_matrix(written(tmp_path, "about = 'nothing'"))
