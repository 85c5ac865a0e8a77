"""Known answers by kinds of numbers and layouts: complex, sparse, nested, quantized, contracted."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from bench.instruments import flops
from tests.support.flop_counts import backward, both_modes, forward

COMPLEX = torch.complex64


def dense_and_sparse(*shape: int) -> torch.Tensor:
    """Return a matrix of which about half is zero."""
    tensor = torch.randn(*shape, generator=torch.Generator().manual_seed(shape[0]))
    return tensor * (tensor > 0)


def test_a_complex_multiply_add_is_eight_real_operations() -> None:
    left, right = torch.randn(8, 16, dtype=COMPLEX), torch.randn(16, 32, dtype=COMPLEX)
    assert both_modes(lambda: left @ right) == 8 * 8 * 16 * 32
    assert both_modes(lambda: nn.functional.linear(left, right.mT)) == 8 * 8 * 16 * 32
    modes = torch.randn(2, 4, 9, dtype=COMPLEX), torch.randn(4, 5, 9, dtype=COMPLEX)
    assert both_modes(lambda: torch.einsum("bix,iox->box", *modes)) == 8 * 2 * 4 * 5 * 9
    assert both_modes(lambda: torch.vdot(left[0], left[1])) == 8 * 16
    assert both_modes(lambda: left @ right[:, 0]) == 8 * 8 * 16


@pytest.mark.parametrize("transposed", [False, True])
def test_a_complex_convolution_counts_its_four_real_ones_forward_and_backward(transposed: bool) -> None:
    kind = nn.ConvTranspose1d if transposed else nn.Conv1d
    layer = kind(3, 4, 3, dtype=COMPLEX)
    signal = torch.randn(2, 3, 9, dtype=COMPLEX, requires_grad=True)
    expected = 8 * 2 * (9 if transposed else 7) * 3 * 4 * 3
    assert both_modes(lambda: layer(signal)) == expected
    assert forward(lambda: layer(signal).abs().sum().backward()) == 3 * expected


def test_counting_complex_convolutions_changes_neither_results_nor_gradients() -> None:
    layer = nn.Conv2d(4, 6, 3, padding="same", groups=2, dtype=COMPLEX)
    image = torch.randn(2, 4, 5, 5, dtype=COMPLEX)
    plain = layer(image)
    plain.abs().sum().backward()
    gradient = layer.weight.grad
    layer.weight.grad = None
    results: list[torch.Tensor] = []

    def call() -> None:
        results.append(layer(image))
        results[0].abs().sum().backward()

    flops.count(call)
    torch.testing.assert_close(results[0], plain)
    torch.testing.assert_close(layer.weight.grad, gradient)


def test_dot_products_along_a_dimension_count_as_dot_does() -> None:
    square, batch = torch.randn(8, 8), torch.randn(4, 8, 8)
    vecdot = torch.linalg.vecdot
    assert both_modes(lambda: vecdot(square, square)) == 2 * 8 * 8
    assert both_modes(lambda: vecdot(batch, square, dim=0)) == 2 * 4 * 8 * 8
    assert both_modes(lambda: vecdot(square, square[0])) == 2 * 8 * 8
    assert both_modes(lambda: vecdot(square[0], square[0])) == 2 * 8
    assert both_modes(lambda: vecdot(square, square, out=torch.empty(8))) == 2 * 8 * 8
    assert both_modes(lambda: vecdot(square.cfloat(), square.cfloat())) == 8 * 8 * 8


def test_a_kronecker_product_counts_as_the_outer_product_that_it_is() -> None:
    left, right = torch.randn(8, 8), torch.randn(3, 5)
    assert both_modes(lambda: torch.kron(left, right)) == 2 * 64 * 15
    assert both_modes(lambda: torch.kron(left, right, out=torch.empty(24, 40))) == 2 * 64 * 15
    assert both_modes(lambda: torch.outer(left[0], right[0], out=torch.empty(8, 5))) == 2 * 8 * 5


@pytest.mark.parametrize("sparse", [False, True])
def test_a_weighted_bag_of_embeddings_counts_its_sparse_product_and_a_plain_one_none(sparse: bool) -> None:
    rows = torch.randint(9, (4, 5), generator=torch.Generator().manual_seed(0))
    table = torch.randn(9, 8, requires_grad=True)
    weights = torch.randn(4, 5, requires_grad=True)
    product = 2 * 4 * 5 * 8

    def bag(**named: torch.Tensor) -> torch.Tensor:
        return functional.embedding_bag(rows, table, mode="sum", sparse=sparse, **named)

    assert both_modes(bag) == 0
    assert both_modes(lambda: bag(per_sample_weights=weights)) == product
    assert backward(bag) == 0
    assert backward(lambda: bag(per_sample_weights=weights)) == 2 * product


def test_a_weighted_bag_of_quantized_embeddings_counts_as_a_plain_one() -> None:
    from torch.ao.quantization import float_qparams_weight_only_qconfig as by_row

    bags = nn.Sequential(nn.EmbeddingBag(9, 8, mode="sum"))
    bag = torch.ao.quantization.quantize_dynamic(bags, {nn.EmbeddingBag: by_row})[0]
    rows, starts = torch.arange(20) % 9, torch.arange(0, 20, 5)
    assert both_modes(lambda: bag(rows, starts)) == 0
    assert both_modes(lambda: bag(rows, starts, torch.ones(20))) == 2 * 20 * 8


def test_distances_of_many_rows_count_the_product_that_they_are_made_of() -> None:
    assert both_modes(lambda: torch.cdist(torch.randn(30, 4), torch.randn(40, 4))) == 2 * 30 * 40 * (4 + 2)
    images, prototypes, layer = torch.randn(64, 192), torch.randn(64, 192), nn.Linear(64, 10)
    assert both_modes(lambda: layer(-torch.cdist(images, prototypes))) == 1_671_168


def test_a_grid_of_affine_positions_counts_a_product_with_each_matrix() -> None:
    expected = 2 * 2 * (4 * 5) * 2 * 3
    assert both_modes(lambda: functional.affine_grid(torch.randn(2, 2, 3), [2, 3, 4, 5])) == expected


def test_a_contraction_of_three_operands_counts_each_pair() -> None:
    first, second, third = torch.randn(4, 5), torch.randn(5, 6), torch.randn(6, 7)
    chain = 2 * 4 * 6 * (5 + 7)
    assert both_modes(lambda: torch.einsum("ij,jk,kl->il", first, second, third)) == chain
    left, right, core = torch.randn(3, 4), torch.randn(3, 5), torch.randn(4, 5, 6)
    outer_first = 2 * 3 * 4 * 5 + 2 * 3 * 4 * 5 * 6
    with torch.backends.opt_einsum.flags(enabled=False):
        assert both_modes(lambda: torch.einsum("bx,by,xyz->bz", left, right, core)) == outer_first


def test_outer_products_count_as_products_of_one_column_and_one_row() -> None:
    column, row = torch.randn(4), torch.randn(5)
    assert both_modes(lambda: torch.outer(column, row)) == 2 * 4 * 5
    assert both_modes(lambda: torch.einsum("i,j->ij", column, row)) == 2 * 4 * 5
    assert both_modes(lambda: column[:, None] * row) == 0  # elementwise, by convention


def test_a_product_of_two_sparse_matrices_counts_the_stored_pairs_that_meet() -> None:
    left, right = dense_and_sparse(9, 7), dense_and_sparse(7, 8)
    pairs = sum(int((left[:, k] != 0).sum()) * int((right[k] != 0).sum()) for k in range(7))
    assert both_modes(lambda: left.to_sparse_csr() @ right.to_sparse_csr()) == 2 * pairs
    assert both_modes(lambda: torch.sparse.mm(left.to_sparse(), right.to_sparse())) == 2 * pairs
    zeros = torch.zeros(9, 8).to_sparse_csr()
    assert both_modes(lambda: torch.addmm(zeros, left.to_sparse_csr(), right.to_sparse_csr())) == 2 * pairs


def test_every_product_with_one_sparse_matrix_counts_what_it_stores() -> None:
    left, batch = dense_and_sparse(9, 7), torch.randn(7, 3)
    stored = int((left != 0).sum())
    assert both_modes(lambda: torch.hspmm(left.to_sparse(), batch)) == 2 * stored * 3
    assert both_modes(lambda: torch.smm(left.to_sparse(), batch)) == 2 * stored * 3
    assert both_modes(lambda: torch.sspaddmm(torch.zeros(9, 3).to_sparse(), left.to_sparse(), batch)) == (
        2 * stored * 3
    )
    assert both_modes(lambda: torch.sparse.mm(left.to_sparse_csr(), batch, "mean")) == 2 * stored * 3
    sampled = torch.randn(9, 4), torch.randn(4, 7)
    assert both_modes(lambda: torch.sparse.sampled_addmm(left.to_sparse_csr(), *sampled)) == 2 * stored * 4
    assert both_modes(lambda: torch.ones(4, 4).to_sparse_bsr((2, 2)) @ torch.ones(4, 3)) == 2 * 4 * 4 * 3


@pytest.mark.parametrize("layout", [torch.strided, torch.jagged])
def test_nested_batches_count_the_tokens_of_each_sample(layout: torch.layout) -> None:
    def attend() -> torch.Tensor:
        heads = [torch.randn(4, n, 8) for n in (5, 3)]
        if layout == torch.jagged:
            heads = [sample.transpose(0, 1) for sample in heads]
        query = torch.nested.nested_tensor(heads, layout=layout)
        query = query.transpose(1, 2) if layout == torch.jagged else query
        return functional.scaled_dot_product_attention(query, query, query)

    assert both_modes(attend) == 2 * 2 * 4 * 8 * (5 * 5 + 3 * 3)
    tokens = torch.nested.nested_tensor([torch.randn(n, 16) for n in (5, 3)], layout=layout)
    assert both_modes(lambda: nn.functional.linear(tokens, torch.ones(32, 16))) == 2 * 8 * 16 * 32


@pytest.mark.parametrize(("kind", "gates"), [(nn.LSTM, 4), (nn.GRU, 3)])
@pytest.mark.parametrize("dtype", [torch.qint8, torch.float16])
def test_quantized_recurrent_layers_take_every_weight_once_a_token(
    kind: type[nn.Module], gates: int, dtype: torch.dtype
) -> None:
    layers = nn.Sequential(kind(6, 8, num_layers=2, bidirectional=True))
    quantized = torch.ao.quantization.quantize_dynamic(layers, {kind}, dtype)
    expected = 2 * 5 * 3 * 2 * gates * 8 * ((6 + 8) + (16 + 8))
    assert both_modes(lambda: quantized(torch.randn(5, 3, 6))) == expected
    packed = nn.utils.rnn.pack_sequence([torch.randn(length, 6) for length in (5, 3, 2)])
    per_token = 2 * 2 * gates * 8 * ((6 + 8) + (16 + 8))
    assert both_modes(lambda: quantized[0](packed)) == 10 * per_token


@pytest.mark.parametrize(("kind", "gates"), [(nn.LSTMCell, 4), (nn.GRUCell, 3), (nn.RNNCell, 1)])
def test_quantized_cells_count_one_token(kind: type[nn.Module], gates: int) -> None:
    cell = torch.ao.quantization.quantize_dynamic(nn.Sequential(kind(6, 8)), {kind}, torch.qint8)
    assert both_modes(lambda: cell(torch.randn(3, 6))) == 2 * 3 * gates * 8 * (6 + 8)


def test_layers_in_the_layout_of_onednn_count_as_plain_ones() -> None:
    from torch.utils.mkldnn import to_mkldnn

    linear, convolution = nn.Sequential(nn.Linear(16, 32)).eval(), nn.Sequential(nn.Conv2d(3, 4, 3)).eval()
    with torch.no_grad():
        assert forward(lambda: to_mkldnn(linear)(torch.randn(3, 16).to_mkldnn())) == 2 * 3 * 16 * 32
        images = torch.randn(2, 3, 8, 8).to_mkldnn()
        assert forward(lambda: to_mkldnn(convolution)(images)) == 2 * 2 * 36 * 27 * 4
