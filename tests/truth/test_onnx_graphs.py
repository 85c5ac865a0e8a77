"""Known answers for ONNX files as people have them: caches, open sizes, functions, domains, no weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from bench.instruments.onnx_flops import count_onnx, count_onnx_file
from bench.instruments.onnx_parameters import onnx_parameter_counts
from bench.instruments.onnx_reading import GraphError
from bench.instruments.tally import FlopCount
from tests.support.onnx_files import counted, node, number, runtime, value, weight, write

# Attention


@pytest.mark.parametrize("past", [0, 127])
def test_attention_with_a_cache_multiplies_with_the_past_too(tmp_path: Path, past: int) -> None:
    cache = {"pk": (1, 2, past, 8), "pv": (1, 2, past, 6)}
    attend = node(
        "Attention", ["q", "k", "v", "", "pk", "pv"], ["y", "nk", "nv"], q_num_heads=4, kv_num_heads=2
    )
    path = write(tmp_path, [attend], {"q": (1, 3, 32), "k": (1, 3, 16), "v": (1, 3, 12), **cache})
    assert counted(path) == (2 * 3 * 4 * (past + 3) * (8 + 6), ())


def test_attention_of_four_dimensions_with_a_cache_counts_each_query_head(tmp_path: Path) -> None:
    attend = node("Attention", ["q", "k", "v", "", "pk", "pv"], ["y", "nk", "nv"], is_causal=1)
    inputs = {"q": (2, 4, 1, 8), "k": (2, 2, 1, 8), "v": (2, 2, 1, 8), "pk": (2, 2, 9, 8), "pv": (2, 2, 9, 8)}
    assert counted(write(tmp_path, [attend], inputs)) == (2 * 2 * 4 * 10 * 16, ())


def test_a_cache_of_open_length_names_the_attention(tmp_path: Path) -> None:
    attend = node("Attention", ["q", "k", "v", "", "pk", "pv"], ["y", "nk", "nv"])
    past = (1, 2, "past", 8)
    inputs = {"q": (1, 4, 1, 8), "k": (1, 2, 1, 8), "v": (1, 2, 1, 8), "pk": past, "pv": past}
    assert counted(write(tmp_path, [attend], inputs)) == (0, ("Attention (no shape)",))


# Shapes


def test_a_tensor_of_unknown_rank_is_no_scalar(tmp_path: Path) -> None:
    product = node("MatMul", ["x", "w"], ["y"])
    convolve = node("Conv", ["x", "k"], ["y"])
    path = write(tmp_path, [product], {"x": None}, [weight("w", 7, 1)])
    assert counted(path) == (0, ("MatMul (no shape)",))
    assert counted(path, 3, 7) == (2 * 3 * 7, ())
    path = write(tmp_path, [convolve], {"x": None}, [weight("k", 4, 3, 3, 3)])
    assert counted(path) == (0, ("Conv (no shape)",))


def test_an_open_batch_is_counted_at_the_batch_that_it_runs_at(tmp_path: Path) -> None:
    layers = [node("Gemm", ["x", "w"], ["h"]), node("MatMul", ["h", "v"], ["y"])]
    path = write(tmp_path, layers, {"x": ("N", 16)}, [weight("w", 16, 32), weight("v", 32, 4)])
    each = 2 * (16 * 32 + 32 * 4)
    assert counted(path, 8, 16) == (8 * each, ())
    assert count_onnx(path, batch_size=5).total == 5 * each
    assert count_onnx_file(path).inputs == ("x (1, 16)",)


def test_a_batch_of_minus_one_is_open(tmp_path: Path) -> None:
    path = write(tmp_path, [node("MatMul", ["x", "w"], ["y"])], {"x": (-1, 4)}, [weight("w", 4, 5)])
    assert counted(path, 3, 4) == (2 * 3 * 20, ())


def test_sizes_that_a_graph_computes_from_its_own_shapes_are_known(tmp_path: Path) -> None:
    # As attention with an open batch is exported: the width of a head is the width over the heads.
    layers = [
        node("Shape", ["x"], ["s"]),
        node("Gather", ["s", "zero"], ["batch"]),
        node("Gather", ["s", "two"], ["width"]),
        node("Div", ["width", "heads"], ["head"]),
        *(node("Unsqueeze", [name, "first"], [f"{name}_"]) for name in ("batch", "head")),
        node("Concat", ["batch_", "rest", "head_"], ["split"], axis=0),
        node("Reshape", ["x", "split"], ["q"]),
        node("Transpose", ["q"], ["t"], perm=[0, 1, 3, 2]),
        node("MatMul", ["q", "t"], ["y"]),
    ]
    numbers = [number("zero", 0), number("two", 2), number("heads", 4)]
    several = [numpy_helper.from_array(np.array(v), n) for n, v in (("first", [0]), ("rest", [5, 4]))]
    path = write(tmp_path, layers, {"x": ("N", 5, 32)}, [*numbers, *several])
    assert counted(path, 2, 5, 32) == (2 * 2 * 5 * 4 * 8 * 4, ())
    assert counted(path) == (2 * 5 * 4 * 8 * 4, ())


def test_a_norm_that_the_file_s_version_does_not_define_keeps_the_shape(tmp_path: Path) -> None:
    layers = [node("LayerNormalization", ["x", "g"], ["h"]), node("MatMul", ["h", "w"], ["y"])]
    path = write(tmp_path, layers, {"x": ("N", 4)}, [weight("g", 4), weight("w", 4, 5)])
    model = onnx.load(path)
    model.opset_import[0].version = 14
    onnx.save(model, path)
    assert counted(path, 3, 4) == (2 * 3 * 20, ())


def test_a_shape_that_the_graph_does_not_take_is_told(tmp_path: Path) -> None:
    path = write(tmp_path, [node("Relu", ["x"], ["y"])], {"x": (8, 16)})
    with pytest.raises(GraphError, match=r"input 'x' must be of shape \(8, 16\), got \(3, 16\)"):
        count_onnx(path, (3, 16))


def test_sizes_that_a_file_notes_from_another_batch_do_not_count(tmp_path: Path) -> None:
    layers = [node("MatMul", ["x", "w"], ["h"]), node("MatMul", ["h", "w"], ["y"])]
    path = write(tmp_path, layers, {"x": ("N", 4)}, [weight("w", 4, 4)])
    model = onnx.load(path)
    model.graph.value_info.append(value("h", (1, 4)))
    onnx.save(model, path)
    assert counted(path, 8, 4) == (2 * 2 * 8 * 16, ())


def test_sizes_that_a_file_notes_help_where_none_can_be_inferred(tmp_path: Path) -> None:
    layers = [node("Strange", ["x"], ["h"], domain="mine"), node("MatMul", ["h", "w"], ["y"])]
    path = write(tmp_path, layers, {"x": ("N", 4)}, [weight("w", 4, 4)])
    assert counted(path, 8, 4) == (0, ("MatMul (no shape)", "mine.Strange"))
    model = onnx.load(path)
    model.graph.value_info.append(value("h", ("N", 4)))
    onnx.save(model, path)
    assert counted(path, 8, 4) == (2 * 8 * 16, ("mine.Strange",))


# Weights that are not there


@pytest.mark.parametrize("there", [True, False])
def test_weights_of_many_gigabytes_in_another_file_are_not_read(tmp_path: Path, there: bool) -> None:
    big = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[4, 2**31])
    big.data_location = TensorProto.EXTERNAL
    big.external_data.add(key="location", value="weights.bin")
    path = write(tmp_path, [node("MatMul", ["x", "w"], ["y"])], {"x": ("N", 4)}, [big])
    if there:
        with (tmp_path / "weights.bin").open("wb") as file:
            file.truncate(2**35)
    assert counted(path, 1, 4) == (2 * 4 * 2**31, ())
    assert onnx_parameter_counts(path) == (2**33, None)


def test_a_shape_in_another_file_is_read(tmp_path: Path) -> None:
    target = numpy_helper.from_array(np.array([-1, 4]), "target")
    layers = [node("Reshape", ["x", "target"], ["h"]), node("MatMul", ["h", "w"], ["y"])]
    path = write(tmp_path, layers, {"x": ("N", 2, 2)}, [weight("w", 4, 5), target])
    settings = {"save_as_external_data": True, "size_threshold": 0, "location": "weights.bin"}
    onnx.save(onnx.load(path), path, **settings)
    assert counted(path, 3, 2, 2) == (2 * 3 * 4 * 5, ())


# Domains and functions


def function(name: str, *nodes: onnx.NodeProto) -> onnx.FunctionProto:
    imports = [helper.make_opsetid("", 23), helper.make_opsetid("mine", 1)]
    return helper.make_function("mine", name, ["a", "b"], ["c"], nodes, imports)


def test_a_function_counts_as_what_it_does_whatever_it_is_called(tmp_path: Path) -> None:
    call = node("MatMul", ["x", "w"], ["y"], domain="mine")
    adds = function("MatMul", node("Add", ["a", "b"], ["c"]))
    inner = function("Inner", node("MatMul", ["a", "b"], ["c"]))
    outer = function("MatMul", node("Inner", ["a", "b"], ["d"], domain="mine"), node("Relu", ["d"], ["c"]))
    weights = [weight("w", 4, 4)]
    assert counted(write(tmp_path, [call], {"x": (4, 4)}, weights, functions=[adds])) == (0, ())
    path = write(tmp_path, [call], {"x": (4, 4)}, weights, functions=[inner, outer])
    assert counted(path) == (2 * 64, ())
    assert counted(write(tmp_path, [call], {"x": (4, 4)}, weights)) == (0, ("mine.MatMul",))


def test_functions_that_double_each_other_without_end_are_refused(tmp_path: Path) -> None:
    def doubling(level: int) -> onnx.FunctionProto:
        below = f"F{level - 1}" if level else "Add"
        domain = "mine" if level else ""
        return function(
            f"F{level}",
            node(below, ["a", "b"], ["d"], domain=domain),
            node(below, ["d", "b"], ["c"], domain=domain),
        )

    call = node("F40", ["x", "x"], ["y"], domain="mine")
    path = write(tmp_path, [call], {"x": (4, 4)}, functions=[doubling(level) for level in range(41)])
    with pytest.raises(GraphError, match="more than 1,000,000 nodes"):
        count_onnx(path)


def test_a_function_that_calls_itself_is_refused(tmp_path: Path) -> None:
    call = node("F", ["x", "x"], ["y"], domain="mine")
    again = function("F", node("F", ["a", "b"], ["c"], domain="mine"))
    with pytest.raises(GraphError, match="call themselves"):
        count_onnx(write(tmp_path, [call], {"x": (4, 4)}, functions=[again]))


TOKENS = {"x": ("N", 5, 8)}


@pytest.mark.parametrize(
    ("made", "weights", "expected"),
    [
        (runtime("FusedMatMul", ["x", "w"], ["h"], transB=1), [weight("w", 6, 8)], 2 * 10 * 48),
        (runtime("DynamicQuantizeMatMul", ["x", "w", "s"], ["h"]), [weight("w", 8, 6)], 2 * 10 * 48),
        (runtime("MatMulNBits", ["x", "w", "s"], ["h"], K=8, N=6, bits=4), [], 2 * 10 * 48),
        (
            runtime("Attention", ["x", "w", "b"], ["h"], num_heads=2),
            [weight("w", 8, 18)],
            2 * 10 * 8 * 18 + 2 * 10 * 5 * (6 + 6),
        ),
        (
            runtime("QAttention", ["x", "w", "b", "s", "s"], ["h"], num_heads=2),
            [weight("w", 8, 18)],
            2 * 10 * 8 * 18 + 2 * 10 * 5 * (6 + 6),
        ),
        (runtime("Gelu", ["x"], ["h"]), [], 0),
    ],
)
def test_operators_of_onnx_runtime_count_and_so_does_what_follows(
    tmp_path: Path, made: onnx.NodeProto, weights: list[onnx.TensorProto], expected: int
) -> None:
    width = 8 if made.op_type == "Gelu" else 6
    path = write(
        tmp_path, [made, node("MatMul", ["h", "v"], ["y"])], TOKENS, [*weights, weight("v", width, 3)]
    )
    assert counted(path, 2, 5, 8) == (expected + 2 * 10 * width * 3, ())


def test_operators_that_the_quantizer_writes_hand_their_shapes_on(tmp_path: Path) -> None:
    numbers = ["s", "z"]
    layers = [
        runtime("QLinearConv", ["x", *numbers, "k", *numbers, *numbers], ["h"], pads=[1, 1, 1, 1]),
        runtime("QLinearAdd", ["h", *numbers, "h", *numbers, *numbers], ["a"]),
        runtime("QLinearConcat", [*numbers, "a", *numbers, "h", *numbers], ["c"], axis=1),
        runtime("QLinearAveragePool", ["c", *numbers, *numbers], ["p"], kernel_shape=[2, 2], strides=[2, 2]),
        node("Flatten", ["p"], ["f"]),
        runtime("QGemm", ["f", *numbers, "w", *numbers], ["y"], transB=1),
    ]
    path = write(tmp_path, layers, {"x": ("N", 3, 6, 6)}, [weight("k", 4, 3, 3, 3), weight("w", 5, 72)])
    assert counted(path, 2, 3, 6, 6) == (2 * 2 * 36 * 4 * 27 + 2 * 2 * 72 * 5, ())


@pytest.mark.parametrize(
    "operator",
    ["FusedMatMul", "MatMulNBits", "Attention", "QLinearConcat", "FusedConv", "GroupQueryAttention"],
)
def test_an_operator_of_onnx_runtime_without_its_inputs_is_named(tmp_path: Path, operator: str) -> None:
    layers = [runtime(operator, ["x"], ["h"]), node("MatMul", ["h", "x"], ["y"])]
    total, unknown = counted(write(tmp_path, layers, {"x": (4, 4)}))
    named = {name.partition(" ")[0] for name in unknown}
    assert total == 0 and named >= {"MatMul"} and named <= {"MatMul", f"com.microsoft.{operator}"}


def test_attention_of_onnx_runtime_counts_by_heads_and_cache(tmp_path: Path) -> None:
    attend = runtime("MultiHeadAttention", ["q", "k", "v", "", "", "", "pk", "pv"], ["y"], num_heads=4)
    inputs = {"q": (2, 3, 32), "k": (2, 7, 32), "v": (2, 7, 16), "pk": (2, 4, 9, 8), "pv": (2, 4, 9, 4)}
    assert counted(write(tmp_path, [attend], inputs)) == (2 * 2 * 4 * 3 * 16 * (8 + 4), ())
    packed = runtime("MultiHeadAttention", ["q"], ["y"], num_heads=4)
    assert counted(write(tmp_path, [packed], {"q": (2, 3, 4, 3, 8)})) == (2 * 2 * 4 * 3 * 3 * 16, ())


def test_grouped_attention_of_onnx_runtime_needs_the_length_that_is_in_its_cache(tmp_path: Path) -> None:
    names = ["q", "k", "v", "pk", "pv", "lengths", "total"]
    cache = (1, 2, 64, 8)
    inputs = {"q": (1, 1, 32), "k": (1, 1, 16), "v": (1, 1, 16), "pk": cache, "pv": cache}
    group = runtime("GroupQueryAttention", names, ["y", "nk", "nv"], num_heads=4, kv_num_heads=2)
    path = write(tmp_path, [group], inputs)
    assert counted(path) == (0, ("com.microsoft.GroupQueryAttention (the length of its cache)",))
    path = write(tmp_path, [group], inputs, [number("total", 10)])
    assert counted(path) == (4 * 4 * 10 * 8, ())


def test_a_linear_classifier_counts_and_trees_are_named(tmp_path: Path) -> None:
    linear = node("LinearClassifier", ["x"], ["y", "s"], domain="ai.onnx.ml", coefficients=[1.0] * 12)
    trees = node("TreeEnsembleClassifier", ["x"], ["y", "s"], domain="ai.onnx.ml")
    assert counted(write(tmp_path, [linear], {"x": ("N", 4)}), 5, 4) == (2 * 5 * 12, ())
    path = write(tmp_path, [trees], {"x": ("N", 4)})
    assert counted(path, 5, 4) == (0, ("ai.onnx.ml.TreeEnsembleClassifier",))


@pytest.mark.parametrize("operator", ["DFT", "STFT", "DeformConv", "Det"])
def test_what_multiplies_without_a_formula_is_named(tmp_path: Path, operator: str) -> None:
    path = write(tmp_path, [node(operator, ["x", "x"], ["y"])], {"x": (1, 4, 4, 2)})
    assert counted(path) == (0, (operator,))


def test_a_node_that_is_not_as_its_operator_is_defined_is_named(tmp_path: Path) -> None:
    path = write(tmp_path, [node("MatMul", ["x"], ["y"])], {"x": (4, 4)})
    assert counted(path) == (0, ("MatMul (malformed)",))


# Contractions


@pytest.mark.parametrize(
    ("equation", "shapes", "expected"),
    [
        ("ij,jk->k", [(2, 3), (3, 5)], 2 * 3 * 5),
        ("i,j->ij", [(4,), (5,)], 2 * 4 * 5),
        ("i,j", [(4,), (5,)], 2 * 4 * 5),
        ("ij,ij->", [(2, 3), (2, 3)], 2 * 2 * 3),
        ("ij,ij->ij", [(2, 3), (2, 3)], 0),
        ("...ij,...jk->...ik", [(6, 2, 3), (6, 3, 5)], 2 * 6 * 2 * 3 * 5),
        ("bij,jk", [(2, 3, 4), (4, 5)], 2 * 2 * 3 * 4 * 5),
        ("ij->ji", [(2, 3)], 0),
    ],
)
def test_contractions_count_what_is_multiplied(
    tmp_path: Path, equation: str, shapes: list[tuple[int, ...]], expected: int
) -> None:
    names = ["a", "b"][: len(shapes)]
    path = write(
        tmp_path, [node("Einsum", names, ["y"], equation=equation)], dict(zip(names, shapes, strict=True))
    )
    assert counted(path) == (expected, ())


def test_a_contraction_of_three_is_named_since_its_order_is_open(tmp_path: Path) -> None:
    chain = node("Einsum", ["x", "x", "x"], ["y"], equation="ij,jk,kl->il")
    total, unknown = counted(write(tmp_path, [chain], {"x": (4, 4)}))
    assert total == 0 and unknown == ("Einsum (the order of its products is open)",)


# Parameters


def test_weights_in_constant_nodes_are_parameters_and_shapes_are_not(tmp_path: Path) -> None:
    held = numpy_helper.from_array(np.array([[1.0, 0.0, 2.0, 3.0]] * 4, np.float32))
    half = numpy_helper.from_array(np.float32(0.5))
    layers = [
        node("Constant", [], ["w"], value=held),
        node("Constant", [], ["half"], value=half),
        node("Constant", [], ["bias"], value_floats=[0.0, 1.0, 2.0, 3.0]),
        node("Gemm", ["x", "w", "bias"], ["h"], alpha=1.0),
        node("Mul", ["h", "half"], ["m"]),
        node("Reshape", ["m", "target"], ["r"]),
        node("MatMul", ["r", "v"], ["y"]),
    ]
    target = numpy_helper.from_array(np.array([-1, 4]), "target")
    path = write(tmp_path, layers, {"x": ("N", 4)}, [weight("v", 4, 2), target])
    assert onnx_parameter_counts(path) == (16 + 4 + 8, 12 + 3 + 8)


def test_a_count_is_what_other_counters_return(tmp_path: Path) -> None:
    path = write(tmp_path, [node("MatMul", ["x", "w"], ["y"])], {"x": (3, 4)}, [weight("w", 4, 4)])
    assert count_onnx(path) == FlopCount(96, {"MatMul": 96}, ())
