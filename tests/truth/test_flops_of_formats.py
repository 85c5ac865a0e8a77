"""Known answers for models that are not plain modules: int8, sparse, exported, rebuilt, without memory."""

from __future__ import annotations

from copy import deepcopy

import pytest
import torch
from torch import nn

from bench.instruments import flops
from techniques.backends.inductor import quantize_static
from techniques.backends.torchao_formats import quantize_dynamic
from techniques.compression.channels import prune_channels
from tests.support.flop_counts import both_modes, forward, simple_cnn

LAYERS = 2 * 7 * (32 * 64 + 64 * 16)


def layers() -> nn.Module:
    return nn.Sequential(nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, 16)).eval()


@torch.no_grad()
def test_int8_dynamic_counts_its_logical_products() -> None:
    model = quantize_dynamic(layers())
    assert forward(lambda: model(torch.randn(7, 32))) == LAYERS


@torch.no_grad()
def test_int8_static_counts_its_logical_products() -> None:
    example = torch.randn(7, 32)
    model = quantize_static(layers(), example, [example])
    assert forward(lambda: model(example)) == LAYERS


@pytest.mark.parametrize("layout", [torch.sparse_csr, torch.sparse_csc, torch.sparse_coo])
def test_a_sparse_operand_counts_the_elements_that_it_stores(layout: torch.layout) -> None:
    weight = torch.randn(30, 20)
    weight[weight.abs() < 1] = 0
    stored, batch = int((weight != 0).sum()), torch.randn(20, 7)
    sparse = weight.to_sparse(layout=layout)
    assert forward(lambda: torch.sparse.mm(sparse, batch)) == 2 * stored * 7
    assert forward(lambda: torch.addmm(torch.zeros(30, 7), sparse, batch)) == 2 * stored * 7


def test_a_linear_layer_and_a_vector_with_sparse_weights_count_what_is_stored() -> None:
    weight = torch.randn(30, 20)
    weight[weight.abs() < 1] = 0
    stored, sparse = int((weight != 0).sum()), weight.to_sparse_csr()
    assert forward(lambda: nn.functional.linear(torch.randn(7, 20), sparse)) == 2 * stored * 7
    assert forward(lambda: sparse @ torch.randn(20)) == 2 * stored


@torch.no_grad()
def test_an_exported_model_counts_as_the_one_it_came_from() -> None:
    example = torch.randn(7, 32)
    exported = torch.export.export(layers(), (example,)).module()
    assert forward(lambda: exported(example)) == LAYERS


def test_a_model_without_memory_counts_the_same() -> None:
    model = simple_cnn().to("meta")
    example = torch.empty(128, 3, 28, 28, device="meta")
    with torch.no_grad():
        assert forward(lambda: model(example)) == 369_623_040
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    targets = torch.empty(128, dtype=torch.long, device="meta")
    counted = flops.count_step(model, nn.functional.cross_entropy, example, targets, optimizer)
    assert counted.forward.total + counted.backward.total == 1_022_164_992


def test_a_shared_module_counts_each_time_it_is_called() -> None:
    layer = nn.Linear(20, 20)
    assert both_modes(lambda: layer(layer(torch.zeros(7, 20)))) == 2 * (2 * 7 * 20 * 20)


class _Context:
    """Lets `prune_channels` run without any training."""

    example = torch.randn(2, 3, 28, 28)

    def note_quality(self, *_: object) -> None: ...

    def recover(self, *_: object) -> None: ...


def test_a_structurally_pruned_model_counts_its_smaller_layers() -> None:
    model = prune_channels(simple_cnn(), _Context(), share=0.5)  # type: ignore[arg-type]
    expected = 2 * 2 * (784 * 27 * 8 + 196 * 9 * 8 * 16 + 784 * 64 + 64 * 10)
    with torch.no_grad():
        assert forward(lambda: model(torch.randn(2, 3, 28, 28))) == expected
        assert flops.effective(deepcopy(model), torch.randn(2, 3, 28, 28)) == expected
