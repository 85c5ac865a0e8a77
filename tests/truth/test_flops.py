"""Known answers: formulas written by hand from the layers' definitions, never from the counter's own."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils import parametrize, prune
from torch.utils.checkpoint import checkpoint
from torch.utils.flop_counter import FlopCounterMode

from bench.instruments import flops
from bench.instruments.fvcore_count import trace
from tests.support.flop_counts import backward, both_modes, forward, simple_cnn


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)  # of any draw, one weight in some millions is exactly 0


def test_a_linear_layer_takes_two_flops_for_each_weight_and_sample() -> None:
    layer, batch = nn.Linear(20, 30), torch.randn(7, 20, requires_grad=True)
    assert both_modes(lambda: layer(batch)) == 2 * 7 * 20 * 30
    assert backward(lambda: layer(batch)) == 2 * (2 * 7 * 20 * 30)


def test_backward_of_a_first_layer_has_no_input_gradient_to_compute() -> None:
    layer = nn.Linear(20, 30)
    assert backward(lambda: layer(torch.randn(7, 20))) == 2 * 7 * 20 * 30


@pytest.mark.parametrize("groups", [1, 2, 8])
@pytest.mark.parametrize("transposed", [False, True])
def test_a_convolution_of_any_groups_counts_forward_and_backward(groups: int, transposed: bool) -> None:
    kind = nn.ConvTranspose2d if transposed else nn.Conv2d
    layer = kind(8, 16, 3, stride=2, padding=1, groups=groups)
    batch = torch.randn(4, 8, 9, 9, requires_grad=True)
    places = 9 * 9 if transposed else 5 * 5
    expected = 2 * 4 * places * 9 * (8 // groups) * 16
    assert both_modes(lambda: layer(batch)) == expected
    assert backward(lambda: layer(batch)) == 2 * expected


def test_a_depthwise_convolution_backward_is_not_multiplied_by_its_groups() -> None:
    layer = nn.Conv2d(32, 32, 3, padding=1, groups=32)
    batch = torch.randn(2, 32, 8, 8, requires_grad=True)
    assert backward(lambda: layer(batch)) == 2 * (2 * 2 * 64 * 9 * 32)


@pytest.mark.parametrize(("kind", "size"), [(nn.Conv1d, (10,)), (nn.Conv3d, (4, 5, 6))])
def test_convolutions_of_one_and_three_dimensions_count(kind: type[nn.Module], size: tuple[int, ...]) -> None:
    layer = kind(3, 6, 3, padding=1)
    batch = torch.randn(2, 3, *size)
    places = torch.tensor(size).prod().item()
    assert both_modes(lambda: layer(batch)) == 2 * 2 * places * 3 ** len(size) * 3 * 6


def test_products_of_matrices_and_vectors_count_two_flops_a_multiply_add() -> None:
    matrix, other, vector = torch.randn(5, 7), torch.randn(7, 3), torch.randn(7)
    batch, batch_other = torch.randn(4, 5, 7), torch.randn(4, 7, 3)
    assert both_modes(lambda: matrix @ other) == 2 * 5 * 7 * 3
    assert both_modes(lambda: batch @ batch_other) == 2 * 4 * 5 * 7 * 3
    assert both_modes(lambda: torch.einsum("bij,bjk->bik", batch, batch_other)) == 2 * 4 * 5 * 7 * 3
    assert both_modes(lambda: matrix @ vector) == 2 * 5 * 7
    assert both_modes(lambda: torch.addmv(torch.zeros(5), matrix, vector)) == 2 * 5 * 7
    assert both_modes(lambda: torch.dot(vector, vector)) == 2 * 7
    assert both_modes(lambda: torch.vdot(vector, vector)) == 2 * 7
    assert both_modes(lambda: torch.addbmm(torch.zeros(5, 3), batch, batch_other)) == 2 * 4 * 5 * 7 * 3
    assert both_modes(lambda: torch.baddbmm(torch.zeros(4, 5, 3), batch, batch_other)) == 2 * 4 * 5 * 7 * 3


def test_products_in_place_count_as_those_that_make_a_new_tensor() -> None:
    matrix, other = torch.randn(5, 7), torch.randn(7, 3)
    assert forward(lambda: torch.zeros(5, 3).addmm_(matrix, other)) == 2 * 5 * 7 * 3
    assert forward(lambda: torch.zeros(5).addmv_(matrix, torch.randn(7))) == 2 * 5 * 7
    assert forward(lambda: torch.mm(matrix, other, out=torch.empty(5, 3))) == 2 * 5 * 7 * 3


def test_integer_products_count() -> None:
    left, right = torch.ones(32, 16, dtype=torch.int8), torch.ones(16, 24, dtype=torch.int8)
    assert forward(lambda: torch._int_mm(left, right)) == 2 * 32 * 16 * 24


def test_linear_layers_of_three_dimensions_and_dilated_convolutions_count() -> None:
    layer, batch = nn.Linear(20, 30), torch.randn(3, 7, 20, requires_grad=True)
    assert both_modes(lambda: layer(batch)) == 2 * 3 * 7 * 20 * 30
    assert backward(lambda: layer(batch)) == 2 * (2 * 3 * 7 * 20 * 30)
    dilated, images = nn.Conv2d(3, 4, 3, dilation=2), torch.randn(2, 3, 9, 9, requires_grad=True)
    assert both_modes(lambda: dilated(images)) == 2 * 2 * 25 * 27 * 4
    assert backward(lambda: dilated(images)) == 2 * (2 * 2 * 25 * 27 * 4)


NAIVELY_WRONG = {
    "grouped convolution, backward": (
        lambda: nn.Conv2d(8, 8, 3, groups=8)(torch.randn(1, 8, 9, 9, requires_grad=True)).sum().backward(),
        3 * 2 * 49 * 9 * 8,
    ),
    "attention": (
        lambda: functional.scaled_dot_product_attention(*[torch.randn(1, 2, 5, 8)] * 3),
        2 * 2 * 5 * 5 * (8 + 8),
    ),
    "LSTM": (lambda: nn.LSTM(12, 20)(torch.randn(5, 3, 12)), 2 * 5 * 3 * 4 * 20 * 32),
    "matrix and vector": (lambda: torch.randn(5, 7) @ torch.randn(7), 70),
    "dot": (lambda: torch.dot(torch.randn(7), torch.randn(7)), 14),
}


@pytest.mark.parametrize("name", NAIVELY_WRONG)
def test_the_known_answers_tell_a_naive_counter_from_this_one(name: str) -> None:
    call, expected = NAIVELY_WRONG[name]
    with FlopCounterMode(display=False) as naive:
        call()
    assert naive.get_total_flops() != expected
    assert flops.count(call).total == expected


def test_the_simple_cnn_takes_1_022_164_992_flops_a_step_of_128() -> None:
    model = simple_cnn()
    optimizer = torch.optim.Adam(model.parameters())
    inputs, targets = torch.randn(128, 3, 28, 28), torch.randint(10, (128,))
    counted = flops.count_step(model, functional.cross_entropy, inputs, targets, optimizer)
    a_sample = 2 * (784 * 27 * 16 + 196 * 9 * 16 * 32 + 1568 * 128 + 128 * 10)
    assert counted.forward.total == 128 * a_sample
    assert counted.forward.total + counted.backward.total == 1_022_164_992
    assert counted.optimizer.total == 0
    assert counted.forward.unknown == counted.backward.unknown == counted.optimizer.unknown == ()


def test_the_products_of_an_optimizer_count() -> None:
    layer = nn.Linear(32, 16, bias=False)
    optimizer = torch.optim.Muon(layer.parameters(), lr=0.01)
    inputs, targets = torch.randn(4, 32), torch.randn(4, 16)
    counted = flops.count_step(layer, functional.mse_loss, inputs, targets, optimizer)
    # Newton-Schulz on a 16 × 32 matrix, 5 iterations: A = X Xᵀ, A A, and (..) X.
    assert counted.optimizer.total == 5 * 2 * (16 * 32 * 16 + 16 * 16 * 16 + 16 * 16 * 32)


def test_counting_a_step_leaves_model_optimizer_and_random_numbers_as_they_were() -> None:
    model = nn.Sequential(nn.Linear(8, 8), nn.BatchNorm1d(8), nn.Dropout(0.5))
    optimizer = torch.optim.Adam(model.parameters())
    inputs, targets = torch.randn(4, 8), torch.randn(4, 8)
    functional.mse_loss(model(inputs), targets).backward()
    optimizer.step()
    weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    gradients = [parameter.grad.clone() for parameter in model.parameters() if parameter.grad is not None]
    moments = [entry["exp_avg"].clone() for entry in optimizer.state.values()]
    generator = torch.get_rng_state()
    flops.count_step(model, functional.mse_loss, inputs, targets, optimizer)
    assert all(torch.equal(tensor, weights[name]) for name, tensor in model.state_dict().items())
    assert all(
        torch.equal(p.grad, g)
        for p, g in zip(model.parameters(), gradients, strict=True)
        if p.grad is not None
    )
    assert all(torch.equal(e["exp_avg"], m) for e, m in zip(optimizer.state.values(), moments, strict=True))
    assert torch.equal(torch.get_rng_state(), generator)


@pytest.mark.parametrize("reentrant", [False, True])
def test_what_checkpointing_computes_again_is_not_the_models(reentrant: bool) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.block = nn.Linear(8, 16), nn.Sequential(nn.Linear(16, 32), nn.Tanh())
            self.last = nn.Linear(32, 4)

        def forward(self, source: torch.Tensor) -> torch.Tensor:
            hidden = checkpoint(self.block, self.first(source), use_reentrant=reentrant)
            result: torch.Tensor = self.last(hidden)
            return result

    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    counted = flops.count_step(model, functional.mse_loss, torch.randn(5, 8), torch.randn(5, 4), optimizer)
    first, block, last = 2 * 5 * 8 * 16, 2 * 5 * 16 * 32, 2 * 5 * 32 * 4
    assert counted.forward.total == first + block + last
    assert counted.backward.total == first + 2 * block + 2 * last
    assert counted.recomputed.total == block


def test_scores_that_fused_attention_computes_again_are_not_the_models() -> None:
    class Attend(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.project = nn.Linear(8, 8, bias=False)

        def forward(self, source: torch.Tensor) -> torch.Tensor:
            query = self.project(source)
            return functional.scaled_dot_product_attention(query, query, query)

    model, source = Attend(), torch.randn(2, 4, 10, 8)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    counted = flops.count_step(model, functional.mse_loss, source, source, optimizer)
    product, projection = 2 * 2 * 4 * 10 * 10 * 8, 2 * 2 * 4 * 10 * 8 * 8
    assert counted.forward.total == projection + 2 * product
    assert counted.backward.total == projection + 4 * product
    assert counted.recomputed.total == product


def test_an_optimizer_that_needs_a_closure_counts_the_passes_it_asks_for() -> None:
    layer = nn.Linear(8, 8, bias=False)
    optimizer = torch.optim.LBFGS(layer.parameters(), max_iter=1)
    counted = flops.count_step(layer, functional.mse_loss, torch.randn(4, 8), torch.randn(4, 8), optimizer)
    # One pass, by its closure; what the optimizer computes of its own are two dot products of 64 entries.
    assert counted.forward.total == counted.backward.total == 2 * 4 * 8 * 8
    assert counted.optimizer.by_operator == {"aten.dot": 128}


@pytest.mark.parametrize(
    "call",
    [
        lambda: torch.fft.fft(torch.randn(8)),
        lambda: torch.linalg.qr(torch.randn(4, 4)),
        lambda: torch.linalg.eigh(torch.eye(4)),
        lambda: torch.cdist(torch.randn(4, 4), torch.randn(4, 4)),
        lambda: nn.Bilinear(4, 4, 4)(torch.randn(2, 4), torch.randn(2, 4)),
    ],
)
def test_compute_without_a_formula_is_named_not_counted_as_nothing(call: Callable[[], object]) -> None:
    assert flops.count(call).unknown


def test_an_operator_of_an_unknown_library_is_named() -> None:
    library = torch.library.Library("flops_truth", "DEF")
    library.define("mystery(Tensor x) -> Tensor")
    library.impl("mystery", lambda x: x * 2, "CompositeExplicitAutograd")
    assert flops.count(lambda: torch.ops.flops_truth.mystery(torch.ones(3))).unknown == (
        "flops_truth.mystery",
    )


def test_elementwise_work_and_norms_are_neither_counted_nor_unknown() -> None:
    model = nn.Sequential(
        nn.BatchNorm2d(3), nn.Hardswish(), nn.Upsample(scale_factor=2, mode="bilinear"), nn.GroupNorm(3, 3)
    )
    batch = torch.randn(2, 3, 8, 8, requires_grad=True)

    def call() -> None:
        model(batch).pow(2).softmax(-1).sum().backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)

    assert forward(call) == 0


def test_legacy_quantized_layers_count_their_logical_products() -> None:
    model = nn.Sequential(nn.Linear(20, 30), nn.ReLU(), nn.Linear(30, 10)).eval()
    quantized = torch.ao.quantization.quantize_dynamic(model, {nn.Linear}, torch.qint8)
    with torch.no_grad():
        assert forward(lambda: quantized(torch.randn(7, 20))) == 2 * 7 * (20 * 30 + 30 * 10)


def test_effective_flops_leave_out_exactly_the_zero_weights() -> None:
    model = simple_cnn()
    with torch.no_grad():
        model[3].weight[:16] = 0
        model[7].weight[:, ::4] = 0
    example = torch.randn(2, 3, 28, 28)
    kept = 784 * 27 * 16 + 196 * 9 * 16 * 16 + 1568 * 96 + 128 * 10
    assert flops.effective(model, example) == 2 * 2 * kept
    assert model.training


def test_effective_flops_equal_the_dense_count_of_a_dense_model() -> None:
    layer = nn.TransformerEncoderLayer(16, 4, 40, batch_first=True)
    model = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False).eval()
    example = torch.randn(3, 10, 16)
    with torch.no_grad():
        assert flops.effective(model, example) == flops.count(lambda: model(example)).total


def test_effective_flops_know_the_weights_of_attention_and_recurrence() -> None:
    class Both(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lstm = nn.LSTM(8, 16, batch_first=True)
            self.attention = nn.MultiheadAttention(16, 4, batch_first=True)

        def forward(self, source: torch.Tensor) -> torch.Tensor:
            hidden, _ = self.lstm(source)
            result: torch.Tensor = self.attention(hidden, hidden, hidden, need_weights=False)[0]
            return result

    model = Both()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "weight" in name:
                parameter.zero_()
    scores = 2 * 3 * (2 * 5 * 5 * 16)
    assert flops.effective(model, torch.randn(3, 5, 8)) == scores


class _Called(nn.Module):
    """Calls its layers by keyword, a cell in a loop, and weights of its own by function."""

    def __init__(self) -> None:
        super().__init__()
        self.recurrent = nn.GRU(8, 16, batch_first=True)
        self.upsample = nn.ConvTranspose1d(16, 4, 3)
        self.cell = nn.LSTMCell(4, 6)
        self.attention = nn.MultiheadAttention(4, 2, batch_first=True)
        self.own = nn.Parameter(torch.randn(6, 6))

    def forward(self, source: torch.Tensor) -> torch.Tensor:
        hidden, _ = self.recurrent(input=source)
        steps = self.upsample(input=hidden.mT).mT
        steps, _ = self.attention(query=steps, key=steps, value=steps, need_weights=False)
        state = None
        for token in steps.unbind(1):
            state = self.cell(input=token, hx=state)
        assert state is not None
        return functional.linear(state[0], self.own)


def test_effective_flops_know_weights_however_they_are_called() -> None:
    model, source = _Called().eval(), torch.randn(3, 5, 8)
    with torch.no_grad():
        dense = flops.count(lambda: model(source)).total
        assert flops.effective(model, source) == dense
        for parameter in model.parameters():
            parameter.zero_()
        scores = 2 * 3 * (2 * 7 * 7 * 4)
        assert flops.effective(model, source) == scores
        model.cell.weight_hh[:6] = 1.0
    assert flops.effective(model, source) == scores + 2 * 3 * 7 * 6 * 6


def test_effective_flops_know_masks_and_parametrizations() -> None:
    masked = prune.l1_unstructured(nn.Linear(8, 8, bias=False), "weight", amount=48)
    halved = parametrize.register_parametrization(nn.Linear(8, 8, bias=False), "weight", _Half())
    model = nn.Sequential(masked, halved)
    assert flops.effective(model, torch.randn(3, 8)) == 2 * 3 * (16 + 32)


class _Half(nn.Module):
    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        return weight * (torch.arange(8) < 4)


def test_effective_flops_of_sparse_and_complex_weights() -> None:
    sparse = nn.Linear(8, 4, bias=False)
    stored = torch.eye(8)[:4].to_sparse_csr()
    stored.values()[0] = 0
    sparse.weight = nn.Parameter(stored)
    assert flops.effective(sparse, torch.randn(3, 8)) == 2 * 3 * 3
    rotated = nn.Linear(8, 4, bias=False, dtype=torch.complex64)
    with torch.no_grad():
        rotated.weight[:, :2] = 0
    assert flops.effective(rotated, torch.randn(3, 8, dtype=torch.complex64)) == 8 * 3 * 4 * 6


def test_effective_flops_of_an_encoder_that_skips_padding_are_never_more_than_dense() -> None:
    class Padded(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            layer = nn.TransformerEncoderLayer(16, 4, 32, batch_first=True)
            self.encoder = nn.TransformerEncoder(layer, 2)

        def forward(self, tokens: torch.Tensor) -> torch.Tensor:
            result: torch.Tensor = self.encoder(tokens, src_key_padding_mask=tokens[..., 0] == 0)
            return result

    model, tokens = Padded().eval(), torch.ones(2, 10, 16)
    tokens[1, 6:] = 0
    attention = 2 * 2 * 2 * (10 * 10 + 6 * 6) * 16
    projections = 2 * 2 * 16 * (4 * 16 * 16 + 2 * 16 * 32)
    assert flops.effective(model, tokens) == projections + attention
    with torch.no_grad():
        for layer in model.encoder.layers:
            layer.linear1.weight.zero_()
            layer.self_attn.in_proj_weight[:16] = 0
    saved = 2 * 2 * 16 * (16 * 32 + 16 * 16)
    assert flops.effective(model, tokens) == projections + attention - saved


def test_fvcore_agrees_on_a_cnn_and_says_nothing_of_what_it_cannot_trace() -> None:
    model, example = simple_cnn(), torch.randn(2, 3, 28, 28)
    traced = trace(model, example)
    assert traced is not None
    assert 2 * traced.macs() == flops.count(lambda: model(example)).total

    class Untraceable(nn.Module):
        def forward(self, source: torch.Tensor) -> dict[int, object]:
            raise RuntimeError("no")

    assert trace(Untraceable(), example) is None


def test_a_compiled_model_counts_as_its_graph() -> None:
    model = simple_cnn().eval()
    compiled = torch.compile(model, backend="eager")
    example = torch.randn(2, 3, 28, 28)
    with torch.no_grad():
        compiled(example)
        assert forward(lambda: compiled(example)) == forward(lambda: model(example))
