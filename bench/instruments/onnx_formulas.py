"""FLOPs of the ONNX operators that multiply and add, from their shapes: 2 a multiply-add.

Padding, masks and zeros count as dense. Operators of `com.microsoft` are those that ONNX Runtime's optimizer
and quantizer write; their definitions are its docs/ContribOperators.md.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

Shape = tuple[int, ...]
Label = tuple[str, int]


class NotCountable(Exception):
    """What a formula needs is not known; the message says what."""


@dataclass(frozen=True)
class Call:
    """A node's shapes by position, None where unknown; its attributes; the values that are known beforehand.

    An input or output that is left out has an empty name.
    """

    input_names: Sequence[str]
    output_names: Sequence[str]
    attributes: Mapping[str, Any]
    shape_of: Callable[[str], Shape | None]
    value_of: Callable[[str], np.ndarray[Any, Any] | None]

    def has(self, position: int) -> bool:
        """Say whether an input is there."""
        return position < len(self.input_names) and bool(self.input_names[position])

    def input(self, position: int) -> Shape:
        """Return an input's shape; raises NotCountable where that is unknown."""
        return self._known(self.input_names, position)

    def output(self, position: int) -> Shape:
        """Return an output's shape; raises NotCountable where that is unknown."""
        return self._known(self.output_names, position)

    def _known(self, names: Sequence[str], position: int) -> Shape:
        found = self.shape_of(names[position])
        if found is None:
            raise NotCountable("no shape")
        return found


Formula = Callable[[Call], int]


def _product_of(left: Shape, right: Shape) -> int:
    left = left if len(left) > 1 else (1, *left)
    right = right if len(right) > 1 else (*right, 1)
    if left[-1] != right[-2]:
        raise NotCountable("shapes do not fit")
    return 2 * prod(np.broadcast_shapes(left[:-2], right[:-2])) * left[-2] * left[-1] * right[-1]


def _product(right: int = 1) -> Formula:
    """Matrix product of the first input with the one at `right`, broadcast as numpy.matmul does."""
    return lambda call: _product_of(call.input(0), call.input(right))


def _fused_product(call: Call) -> int:
    """A product of operands that may be transposed, also between the first dimension and the batch."""

    def turned(shape: Shape, name: str) -> Shape:
        if len(shape) > 1 and call.attributes.get(f"transBatch{name}"):
            shape = (*shape[1:-1], shape[0], shape[-1])
        if len(shape) > 1 and call.attributes.get(f"trans{name}"):
            shape = (*shape[:-2], shape[-1], shape[-2])
        return shape

    return _product_of(turned(call.input(0), "A"), turned(call.input(1), "B"))


def _gemm(right: int = 1) -> Formula:
    def formula(call: Call) -> int:
        left, other = call.input(0), call.input(right)
        rows, inner = left[::-1] if call.attributes.get("transA") else left
        columns = other[0 if call.attributes.get("transB") else 1]
        return 2 * rows * inner * columns

    return formula


def _packed_product(call: Call) -> int:
    """A product whose right operand is packed: its attributes say how large it is."""
    columns, inner = call.attributes["N"], call.attributes["K"]
    if call.input(0)[-1] != inner:
        raise NotCountable("shapes do not fit")
    return 2 * prod(call.input(0)) * columns


def _convolution(weight: int = 1) -> Formula:
    """Each output element takes one filter: the weight without its first dimension, of any layout."""
    return lambda call: 2 * prod(call.output(0)) * prod(call.input(weight)[1:])


def _transposed_convolution(call: Call) -> int:
    return 2 * prod(call.input(0)) * prod(call.input(1)[1:])


def _recurrent(call: Call) -> int:
    """Each token takes every weight of all gates and directions once."""
    return 2 * prod(call.input(0)[:2]) * (prod(call.input(1)) + prod(call.input(2)))


def _einsum(call: Call) -> int:
    """A contraction of two operands. What only one of them has is summed beforehand.

    Of more than two the order is open. Without a contraction it is an outer product where each operand is
    repeated, else elementwise.
    """
    left, arrow, right = call.attributes["equation"].decode().replace(" ", "").partition("->")
    terms = left.split(",")
    if len(terms) == 1:
        return 0
    if len(terms) > 2:
        raise NotCountable("the order of its products is open")
    labels = [_labels(term, call.input(position)) for position, term in enumerate(terms)]
    first, second = labels
    in_output = set(right.replace("...", "")) | ({"..."} if "..." in right else set())
    kept = {label for label in first | second if label[0] in (in_output if arrow else _implied(left))}
    shared = first.keys() & second.keys()
    work, *each = (
        prod(size for label, size in sizes.items() if label in shared | kept)
        for sizes in (_merged(first, second), first, second)
    )
    return 2 * work if shared - kept or work > max(each) else 0


def _merged(first: Mapping[Label, int], second: Mapping[Label, int]) -> dict[Label, int]:
    """Return the size of each label. One of 1 is repeated to the other operand's."""
    return {label: max(first.get(label, 1), second.get(label, 1)) for label in {**first, **second}}


def _implied(left: str) -> set[str]:
    """Return the letters of the output of an equation without one: those that occur once."""
    return {letter for letter in left if left.count(letter) == 1} | {"..."}


def _labels(term: str, shape: Shape) -> dict[Label, int]:
    """Return the size of each letter; what `...` stands for is numbered from the end."""
    before, dots, after = term.partition("...")
    rest = len(shape) - len(before) - len(after)
    if rest < 0 or (rest and not dots):
        raise NotCountable("shapes do not fit")
    names = [
        *((letter, 0) for letter in before),
        *(("...", rest - position) for position in range(rest)),
        *((letter, 0) for letter in after),
    ]
    return dict(zip(names, shape, strict=True))


def _attention(call: Call) -> int:
    """Two products: queries with keys, scores with values, of the cache too (inputs 4 and 5).

    Of three dimensions the heads lie side by side. Key heads that query heads share count for each.
    """
    query, key, value = call.input(0), call.input(1), call.input(2)
    past = call.input(4)[2] if call.has(4) else 0
    if len(query) == 4:
        return 2 * prod(query[:-1]) * (key[2] + past) * (query[3] + value[3])
    heads, shared = call.attributes["q_num_heads"], call.attributes["kv_num_heads"]
    return 2 * query[0] * query[1] * (key[1] + past) * (query[2] + heads * (value[2] // shared))


def _projected_attention(past_at: int) -> Formula:
    """`com.microsoft` Attention: one product with the weights of queries, keys and values, then attention."""

    def formula(call: Call) -> int:
        batch, tokens, _ = call.input(0)
        weight = call.input(1)
        widths = call.attributes.get("qkv_hidden_sizes") or [weight[1] // 3] * 3
        if call.attributes.get("past_present_share_buffer"):
            raise NotCountable("the length of its cache")
        keys = tokens + (call.input(past_at)[3] if call.has(past_at) else 0)
        projection = 2 * batch * tokens * prod(weight)
        return projection + 2 * batch * tokens * keys * (widths[0] + widths[2])

    return formula


def _multi_head_attention(call: Call) -> int:
    """`com.microsoft` MultiHeadAttention: queries alone, with keys in one tensor, or all three in one."""
    heads, query = call.attributes["num_heads"], call.input(0)
    if call.has(8):
        raise NotCountable("the length of its cache")
    if len(query) == 5:
        batch, tokens, heads, _, width = query
        keys, value_width = tokens, width
    else:
        batch, tokens, width = query[0], query[1], query[2] // heads
        key = call.input(1)
        keys = key[2] if len(key) == 4 else key[1]
        value_width = width if len(key) == 5 else _head_width(call.input(2), heads)
    keys += call.input(6)[2] if call.has(6) else 0
    return 2 * batch * heads * tokens * keys * (width + value_width)


def _head_width(value: Shape, heads: int) -> int:
    return value[3] if len(value) == 4 else value[2] // heads


def _grouped_attention(call: Call) -> int:
    """`com.microsoft` GroupQueryAttention. Its cache may be longer than what is in it: then a value tells."""
    heads, shared = call.attributes["num_heads"], call.attributes["kv_num_heads"]
    batch, tokens, width = call.input(0)
    head = width // heads if call.has(1) else width // (heads + 2 * shared)
    keys = call.input(1)[1] if call.has(1) else tokens
    if call.has(3):
        total = call.value_of(call.input_names[6]) if call.has(6) else None
        if total is None:
            raise NotCountable("the length of its cache")
        keys = int(total.reshape(-1)[0])
    return 4 * batch * heads * tokens * keys * head


def _linear_model(call: Call) -> int:
    return 2 * prod(call.input(0)[:-1]) * len(call.attributes["coefficients"])


def _affine_grid(call: Call) -> int:
    return 2 * prod(call.output(0)) * call.input(0)[-1]


_MICROSOFT: Mapping[str, Formula] = {
    "FusedMatMul": _fused_product,
    "FusedMatMulActivation": _fused_product,
    "TransposeMatMul": _fused_product,
    "DynamicQuantizeMatMul": _product(),
    "MatMulIntegerToFloat": _product(),
    "MatMulInteger16": _product(),
    "GemmFastGelu": _product(),
    "MatMulNBits": _packed_product,
    "MatMulBnb4": _packed_product,
    "FusedGemm": _gemm(),
    "GemmFloat8": _gemm(),
    "QGemm": _gemm(3),
    "FusedConv": _convolution(),
    "NhwcConv": _convolution(),
    "NhwcFusedConv": _convolution(),
    "QLinearConv": _convolution(3),
    "DynamicQuantizeLSTM": _recurrent,
    "Attention": _projected_attention(4),
    "QAttention": _projected_attention(8),
    "MultiHeadAttention": _multi_head_attention,
    "GroupQueryAttention": _grouped_attention,
}

_STANDARD: Mapping[str, Formula] = {
    "MatMul": _product(),
    "MatMulInteger": _product(),
    "QLinearMatMul": _product(3),
    "Gemm": _gemm(),
    "Conv": _convolution(),
    "ConvInteger": _convolution(),
    "QLinearConv": _convolution(3),
    "CausalConvWithState": _convolution(),
    "ConvTranspose": _transposed_convolution,
    "LSTM": _recurrent,
    "GRU": _recurrent,
    "RNN": _recurrent,
    "Einsum": _einsum,
    "Attention": _attention,
    "AffineGrid": _affine_grid,
}

FORMULAS: Mapping[tuple[str, str], Formula] = {
    **{("", name): formula for name, formula in _STANDARD.items()},
    **{("com.microsoft", name): formula for name, formula in _MICROSOFT.items()},
    ("ai.onnx.ml", "LinearClassifier"): _linear_model,
    ("ai.onnx.ml", "LinearRegressor"): _linear_model,
    ("ai.onnx.preview", "FlexAttention"): lambda call: (
        2 * prod(call.input(0)[:-1]) * call.input(1)[2] * (call.input(0)[3] + call.input(2)[3])
    ),
}
