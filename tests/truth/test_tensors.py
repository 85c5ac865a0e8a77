"""Tensor memory against sizes worked out by hand: 4 bytes for each fp32 element."""

from __future__ import annotations

import threading
from copy import deepcopy

import pytest
import torch
from torch import nn

from bench.instruments import tensors

KIB = 1 << 10


def block(kib: int) -> torch.Tensor:
    return torch.empty(kib * KIB // 4)


def test_the_peak_is_the_most_alive_at_once_not_the_sum() -> None:
    def call() -> None:
        first = block(256)
        del first
        second, third = block(128), block(512)
        del second, third
        block(64)

    assert tensors.peak_tensor_bytes(call) == 640 * KIB


def test_what_is_resident_counts_once_however_many_tensors_share_it() -> None:
    weights = block(128)
    peak = tensors.peak_tensor_bytes(
        lambda: block(64), [weights, weights[:10], {"again": [weights.view(2, -1)]}]
    )
    assert peak == 192 * KIB


def test_the_forward_of_a_linear_layer_holds_weights_input_and_output() -> None:
    layer, batch = nn.Linear(256, 512, bias=False), torch.randn(64, 256)
    with torch.no_grad():
        peak = tensors.peak_tensor_bytes(lambda: layer(batch), [*layer.parameters(), batch])
    assert peak == 4 * (256 * 512 + 64 * 256 + 64 * 512)


def test_a_training_step_holds_gradients_of_the_step_before_until_they_are_set_free() -> None:
    layer = nn.Linear(256, 256, bias=False)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1, momentum=0.9, foreach=False)
    batch = torch.randn(8, 256)
    scratch = 1 << 20

    def step() -> None:
        torch.empty(scratch // 4)
        optimizer.zero_grad(set_to_none=True)
        layer(batch).sum().backward()
        optimizer.step()

    weight = 4 * 256 * 256
    # Scratch on top of weight, momentum and the gradient left by the step before.
    expected = 3 * weight + 4 * 8 * 256 + scratch
    assert tensors.peak_tensor_bytes(step, [*layer.parameters(), batch]) == expected
    # The same once the momentum is there beforehand, as in a training under way.
    kept = [*layer.parameters(), batch, *tensors.optimizer_tensors(optimizer)]
    assert tensors.peak_tensor_bytes(step, kept) == expected


def test_measuring_twice_in_one_process_gives_the_same() -> None:
    def call() -> None:
        kept = [block(16) for _ in range(4)]
        kept.clear()
        block(32)

    assert [tensors.peak_tensor_bytes(call) for _ in range(2)] == [64 * KIB] * 2


@pytest.mark.parametrize(
    ("build", "bytes_each"),
    [
        (lambda p: torch.optim.SGD(p, lr=0.1), 0),
        (lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9), 4),
        (lambda p: torch.optim.RMSprop(p), 4),
        (lambda p: torch.optim.Adagrad(p), 4),
        (lambda p: torch.optim.Adam(p), 8),
        (lambda p: torch.optim.Adam(p, fused=True), 8),
        (lambda p: torch.optim.AdamW(p, amsgrad=True), 12),
        (lambda p: torch.optim.NAdam(p), 8),
    ],
)
def test_optimizer_state_is_the_bytes_a_parameter_that_theory_says(build: object, bytes_each: int) -> None:
    model = nn.Sequential(nn.Linear(10, 20), nn.Linear(20, 1))
    optimizer = build(model.parameters())  # type: ignore[operator]
    model(torch.randn(4, 10)).sum().backward()
    optimizer.step()
    count = 10 * 20 + 20 + 20 + 1
    assert tensors.optimizer_state_bytes(optimizer) == bytes_each * count


def test_nested_lists_objects_and_scalar_parameters_are_part_of_an_optimizers_state() -> None:
    class Preconditioner:
        def __init__(self) -> None:
            self.statistics = [torch.zeros(4, 4), torch.zeros(3, 3)]

    scale = nn.Parameter(torch.ones(()))
    matrix = nn.Parameter(torch.ones(4, 3))
    optimizer = torch.optim.SGD([scale, matrix], lr=0.1)
    optimizer.state[scale] = {"step": torch.zeros(()), "average": torch.zeros(())}
    optimizer.state[matrix] = {
        "step": torch.zeros(()),
        "pre": Preconditioner(),
        "bases": {"left": [torch.zeros(4, 4)]},
        "again": matrix,
    }
    assert tensors.optimizer_state_bytes(optimizer) == 4 * (1 + 16 + 9 + 16)
    assert tensors.storage_bytes(tensors.optimizer_tensors(optimizer)) == 4 * (2 + 1 + 16 + 9 + 16)


def test_lbfgs_history_counts() -> None:
    layer = nn.Linear(6, 1, bias=False)
    optimizer = torch.optim.LBFGS(layer.parameters(), max_iter=3)
    batch = torch.randn(4, 6)

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = layer(batch).pow(2).sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    assert tensors.optimizer_state_bytes(optimizer) >= 4 * 6 * 2


class Beside(torch.optim.Optimizer):
    """Muon for matrices, AdamW for the rest; flat statistics and the model in attributes of its own."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__(model.parameters(), {})
        self.inner = [
            torch.optim.Muon([p for p in model.parameters() if p.dim() == 2], lr=0.01),
            torch.optim.AdamW([p for p in model.parameters() if p.dim() != 2], lr=0.01),
        ]
        self.model, self.slow = model, deepcopy(model)
        self.flat = {"statistics": [torch.zeros(100)]}
        self.scratch = self.param_groups[0]["params"][0].view(-1)

    def step(self, closure: object = None) -> None:
        for optimizer in self.inner:
            optimizer.step()


def test_state_of_held_optimizers_and_of_attributes_counts_and_the_held_model_does_not() -> None:
    model = nn.Sequential(nn.Linear(10, 20), nn.BatchNorm1d(20))
    optimizer = Beside(model)
    model(torch.randn(4, 10)).sum().backward()
    optimizer.step()
    vectors, statistics = 20 + 20 + 20, 2 * 20  # bias, scale and shift; running mean and variance of a copy
    copied = 4 * (200 + vectors + statistics) + 8  # and its count of batches
    assert tensors.optimizer_state_bytes(optimizer) == 4 * 200 + 8 * vectors + 4 * 100 + copied - 8
    everything = tensors.storage_bytes(tensors.optimizer_tensors(optimizer))
    assert everything >= tensors.optimizer_state_bytes(optimizer) + 8


def test_a_wrapper_that_is_no_optimizer_itself_counts_what_it_holds() -> None:
    class Both:
        def __init__(self, *optimizers: torch.optim.Optimizer) -> None:
            self.optimizers = optimizers

    layer = nn.Linear(6, 4, bias=False)
    inner = torch.optim.Adam(layer.parameters())
    layer(torch.randn(2, 6)).sum().backward()
    inner.step()
    assert tensors.optimizer_state_bytes(Both(inner, inner)) == 8 * 24


def test_parameters_and_those_not_zero_are_counted_without_buffers() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(4, 2))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(1.0)
        model[0].weight[:2] = 0
    everything = 4 * 27 + 4 + 4 + 4 + 8 + 2
    assert tensors.parameter_counts(model) == (everything, everything - 2 * 27)


def test_a_quantized_subclass_counts_its_logical_parameters() -> None:
    quantization = pytest.importorskip("torchao.quantization")
    model = nn.Sequential(nn.Linear(64, 32, bias=False))
    with torch.no_grad():
        model[0].weight.fill_(1.0)
        model[0].weight[:8] = 0
    quantization.quantize_(model, quantization.Int8WeightOnlyConfig())
    assert tensors.parameter_counts(model) == (64 * 32, 24 * 64)


def test_a_training_steps_peak_is_taken_apart_exactly() -> None:
    layer = nn.Linear(512, 256, bias=False)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1, momentum=0.9, foreach=False)
    batch = torch.randn(16, 512)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        layer(batch).square().sum().backward()
        scratch = torch.empty(1 << 18)
        optimizer.step()
        del scratch

    found = tensors.step_memory(step, layer, optimizer, [batch])
    assert found is not None
    weight = 4 * 512 * 256
    assert (found.weights, found.gradients, found.optimizer_state) == (weight, weight, weight)
    assert found.activations >= (4 << 18) + 4 * 16 * 512
    assert found.peak == 3 * weight + found.activations


def test_gradients_that_the_step_before_left_are_gradients_too() -> None:
    layer = nn.Linear(512, 256, bias=False)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
    batch = torch.randn(16, 512)

    def step() -> None:
        torch.empty(1 << 22)
        optimizer.zero_grad(set_to_none=True)
        layer(batch).sum().backward()
        optimizer.step()

    found = tensors.step_memory(step, layer, optimizer, [batch])
    assert found == tensors.StepMemory(
        peak=2 * 4 * 512 * 256 + 4 * 16 * 512 + (4 << 22),
        weights=4 * 512 * 256,
        gradients=4 * 512 * 256,
        optimizer_state=0,
        activations=4 * 16 * 512 + (4 << 22),
    )


def test_what_only_lay_where_a_gradient_lies_later_is_no_gradient() -> None:
    layer = nn.Linear(512, 256, bias=False)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
    batch = torch.randn(16, 512)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        as_large, more = torch.empty(512 * 256), torch.empty(1 << 20)
        del as_large, more
        layer(batch).sum().backward()
        optimizer.step()

    found = tensors.step_memory(step, layer, optimizer, [batch])
    assert found is not None
    assert (found.gradients, found.activations) == (0, 4 * 512 * 256 + (4 << 20) + 4 * 16 * 512)


def test_gradients_that_are_set_to_zero_and_kept_are_part_of_the_peak() -> None:
    layer = nn.Linear(512, 256, bias=False)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1, momentum=0.9, foreach=False)
    batch = torch.randn(16, 512)

    def step() -> None:
        optimizer.zero_grad(set_to_none=False)
        layer(batch).sum().backward()
        optimizer.step()

    found = tensors.step_memory(step, layer, optimizer, [batch])
    assert found is not None
    weight = 4 * 512 * 256
    assert (found.weights, found.gradients, found.optimizer_state) == (weight, weight, weight)
    assert found.peak == 3 * weight + found.activations
    # The gradient of the pass is made beside the one that it is added to.
    assert found.activations >= weight + 4 * 16 * 512


def test_the_peak_of_a_call_that_works_in_other_threads_is_unknown() -> None:
    def call() -> None:
        thread = threading.Thread(target=block, args=(64,))
        thread.start()
        thread.join()

    assert tensors.peak_tensor_bytes(call) is None
    assert tensors.peak_tensor_bytes(lambda: block(64)) == 64 * KIB


def test_tensors_of_sparse_and_onednn_layouts_count_what_they_store() -> None:
    starts, places, values = torch.arange(9), torch.arange(8), torch.ones(8)
    for make in (torch.sparse_csr_tensor, torch.sparse_csc_tensor):
        sparse = make(starts, places, values, (8, 8))
        assert tensors.storage_bytes(tensors.walk_tensors([sparse, sparse.t()])) == 8 * 9 + 8 * 8 + 4 * 8
    pairs = torch.sparse_coo_tensor(torch.zeros(2, 8, dtype=torch.long), values, (8, 8))
    assert tensors.storage_bytes(tensors.walk_tensors([pairs])) == 8 * 16 + 4 * 8
    dense = torch.eye(8).to_mkldnn()
    assert tensors.storage_bytes(tensors.walk_tensors([dense, {"again": dense}])) == 4 * 64
    held = [torch.randn(16, 16).to_mkldnn()]
    assert tensors.peak_tensor_bytes(lambda: block(64), held) == 64 * KIB + 4 * 256


@pytest.mark.parametrize("layout", [torch.sparse_coo, torch.sparse_csr, torch.sparse_csc])
def test_elements_that_are_not_zero_are_counted_in_every_layout(layout: torch.layout) -> None:
    sparse = torch.eye(8).to_sparse(layout=layout)
    assert (tensors.nonzero(sparse), tensors.stored_elements(sparse)) == (8, 8)
    values = sparse._values() if layout == torch.sparse_coo else sparse.values()
    values[0] = 0
    assert (tensors.nonzero(sparse), tensors.stored_elements(sparse)) == (7, 8)
    dense = torch.eye(8).to_mkldnn()
    assert (tensors.nonzero(dense), tensors.stored_elements(dense)) == (8, 64)
