"""Known answers for ONNX graphs with graphs in their nodes: loops, scans, branches."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto

from tests.support.onnx_files import body, counted, node, number, value, weight, write

STEP = body(
    [node("MatMul", ["h", "w"], ["next"]), node("Identity", ["go"], ["goes"])],
    ["i", "go", "h"],
    ["goes", "next"],
)
GROWING = body(
    [
        node("MatMul", ["h", "w"], ["p"]),
        node("Concat", ["h", "p"], ["next"], axis=0),
        node("Identity", ["go"], ["goes"]),
    ],
    ["i", "go", "h"],
    ["goes", "next"],
)
DATA = [weight("w", 4, 4), number("five", 5)]


def test_a_loop_counts_as_often_as_it_runs_and_what_follows_knows_its_shape(tmp_path: Path) -> None:
    layers = [node("Loop", ["five", "", "x"], ["h"], body=STEP), node("MatMul", ["h", "w"], ["y"])]
    path = write(tmp_path, layers, {"x": ("N", 4)}, DATA)
    assert counted(path, 3, 4) == (6 * 2 * 3 * 16, ())


def test_how_often_a_loop_runs_may_follow_from_a_shape(tmp_path: Path) -> None:
    layers = [
        node("Shape", ["x"], ["s"]),
        node("Gather", ["s", "zero"], ["trips"]),
        node("Loop", ["trips", "", "x"], ["y"], body=STEP),
    ]
    path = write(tmp_path, layers, {"x": ("N", 4)}, [*DATA, number("zero", 0)])
    assert counted(path, 3, 4) == (3 * 2 * 3 * 16, ())


def test_a_loop_that_runs_nobody_knows_how_often_is_named(tmp_path: Path) -> None:
    loop = node("Loop", ["trips", "", "x"], ["y"], body=STEP)
    inputs = [value("x", (3, 4)), value("trips", [], TensorProto.INT64)]
    assert counted(write(tmp_path, [loop], inputs, DATA)) == (0, ("Loop (how often it runs)",))


def test_a_loop_that_may_end_early_is_named(tmp_path: Path) -> None:
    ends = body(
        [
            node("MatMul", ["h", "w"], ["next"]),
            node("ReduceMax", ["h"], ["m"], keepdims=0),
            node("Cast", ["m"], ["goes"], to=TensorProto.BOOL),
        ],
        ["i", "go", "h"],
        ["goes", "next"],
    )
    loop = node("Loop", ["five", "", "x"], ["y"], body=ends)
    assert counted(write(tmp_path, [loop], {"x": (3, 4)}, DATA)) == (0, ("Loop (how often it runs)",))


def test_a_value_that_grows_in_a_loop_has_no_shape(tmp_path: Path) -> None:
    layers = [node("Loop", ["five", "", "x"], ["h"], body=GROWING), node("MatMul", ["h", "w"], ["y"])]
    path = write(tmp_path, layers, {"x": (3, 4)}, DATA)
    assert counted(path) == (0, ("MatMul (no shape)",))


@pytest.mark.parametrize("operator", ["If", "Loop", "Scan", "SequenceMap"])
def test_a_node_without_the_graphs_that_it_should_hold_is_named(tmp_path: Path, operator: str) -> None:
    path = write(tmp_path, [node(operator, ["x"], ["y"])], {"x": (3, 4)})
    assert counted(path) == (0, (f"{operator} (malformed)",))


def test_a_loop_in_which_nothing_computes_is_whole(tmp_path: Path) -> None:
    still = body(
        [node("Relu", ["h"], ["next"]), node("Identity", ["go"], ["goes"])],
        ["i", "go", "h"],
        ["goes", "next"],
    )
    inputs = [value("x", (3, 4)), value("trips", [], TensorProto.INT64)]
    path = write(tmp_path, [node("Loop", ["trips", "", "x"], ["y"], body=still)], inputs)
    assert counted(path) == (0, ())


def test_a_scan_counts_each_slice(tmp_path: Path) -> None:
    inner = body(
        [node("MatMul", ["h", "w"], ["next"]), node("Add", ["next", "s"], ["out"])],
        ["h", "s"],
        ["next", "out"],
    )
    scan = node("Scan", ["x", "sequence"], ["y", "ys"], body=inner, num_scan_inputs=1)
    path = write(tmp_path, [scan], {"x": (2, 4), "sequence": (7, 4)}, DATA)
    assert counted(path) == (7 * 2 * 2 * 16, ())


def branch(products: int) -> onnx.GraphProto:
    names = ["x", *(f"p{products}{index}" for index in range(products))]
    layers = [node("MatMul", [left, "w"], [right]) for left, right in pairwise(names)]
    return body(layers, [], [names[-1]])


def test_of_two_branches_the_least_counts_and_the_node_is_named(tmp_path: Path) -> None:
    inputs = [value("x", (3, 4)), value("c", [], TensorProto.BOOL)]
    product = 2 * 3 * 16

    def chosen(yes: int, no: int) -> Path:
        made = node("If", ["c"], ["y"], then_branch=branch(yes), else_branch=branch(no))
        return write(tmp_path, [made], inputs, [weight("w", 4, 4)])

    assert counted(chosen(3, 1)) == (product, ("If (which branch)",))
    assert counted(chosen(2, 2)) == (2 * product, ())


def test_a_branch_that_is_known_counts_alone(tmp_path: Path) -> None:
    made = node("If", ["c"], ["y"], then_branch=branch(3), else_branch=branch(1))
    weights = [weight("w", 4, 4), number("c", True)]
    assert counted(write(tmp_path, [made], {"x": (3, 4)}, weights)) == (3 * 2 * 3 * 16, ())


def test_what_has_no_formula_is_named_in_a_branch_too(tmp_path: Path) -> None:
    strange = body([node("DFT", ["x"], ["d"])], [], ["d"])
    made = node("If", ["c"], ["y"], then_branch=strange, else_branch=branch(1))
    path = write(
        tmp_path, [made], [value("x", (3, 4)), value("c", [], TensorProto.BOOL)], [weight("w", 4, 4)]
    )
    assert counted(path)[1] == ("DFT", "If (which branch)")
