"""Rounding by calibration loses less than rounding to the nearest, and int4-weight keeps what it chose."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy
from typing import Any

import pytest
import torch
from torch import nn

from techniques.backends.eager import Eager
from techniques.backends.onnx_runtime import OnnxRuntime
from techniques.backends.protocol import Numerics
from techniques.backends.torchao_formats import PackedWeight
from techniques.compression.grids import Grid
from techniques.compression.pruning import prune_magnitude
from techniques.compression.rounding import (
    PASSES,
    gptq,
    gptq_rounded,
    input_grams,
    round_to_nearest,
    sign_round,
    sign_rounded,
)
from techniques.registry import CannotApply
from tests.support.untrained import Untrained

CHOSEN = pytest.mark.parametrize("choose", [gptq_rounded, sign_rounded])
STEPS = pytest.mark.parametrize("step", [gptq, sign_round])
AFFINE: dict[str, Any] = {"bits": 4, "group": 32, "grid": "affine"}


def correlated(samples: int, inputs: int, seed: int = 0) -> torch.Tensor:
    """Return inputs that mostly lie in few directions, as those of trained layers do."""
    generator = torch.Generator().manual_seed(seed)
    few = torch.randn(samples, 12, generator=generator)
    mixing = torch.randn(12, inputs, generator=torch.Generator().manual_seed(99))
    return few @ mixing + 0.1 * torch.randn(samples, inputs, generator=generator)


def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 16)
    ).eval()


def context() -> Untrained:
    return Untrained(torch.zeros(1, 128), [correlated(64, 128, seed) for seed in range(4)])


@CHOSEN
@pytest.mark.parametrize("kind", ["affine", "symmetric"])
def test_outputs_of_a_layer_are_nearer_than_with_the_nearest_levels(choose, kind):
    weight = torch.randn(48, 128, generator=torch.Generator().manual_seed(1))
    inputs, grid = correlated(256, 128), Grid(4, 32, kind)
    chosen = choose(weight, inputs.T @ inputs, grid)
    errors = [(inputs @ (rounded - weight).T).square().sum() for rounded in (chosen, grid.nearest(weight))]
    assert errors[0] < 0.7 * errors[1]


@CHOSEN
@pytest.mark.parametrize("kind", ["affine", "symmetric"])
def test_the_grid_finds_a_chosen_weight_again(choose, kind):
    weight = torch.randn(48, 128, generator=torch.Generator().manual_seed(1))
    inputs, grid = correlated(256, 128), Grid(4, 32, kind)
    chosen = choose(weight, inputs.T @ inputs, grid)
    torch.testing.assert_close(grid.nearest(chosen), chosen, rtol=1e-4, atol=1e-5)


@CHOSEN
def test_weights_of_inputs_that_nobody_sees_stay_at_the_nearest_level(choose):
    weight = torch.randn(16, 64, generator=torch.Generator().manual_seed(1))
    grid = Grid(4, 32)
    torch.testing.assert_close(choose(weight, torch.zeros(64, 64), grid), grid.nearest(weight))


@STEPS
def test_pruned_weights_stay_pruned(step):
    model = prune_magnitude(net(), context(), sparsity=0.5)
    zeros = [layer.weight == 0 for layer in model if isinstance(layer, nn.Linear)]
    step(model, context(), **AFFINE)
    after = [layer.weight == 0 for layer in model if isinstance(layer, nn.Linear)]
    assert all((now | ~before).all() for before, now in zip(zeros, after, strict=True))


def test_a_layer_is_calibrated_by_what_the_rounded_layers_before_it_give():
    model, seen = net(), context()
    first = deepcopy(model[0])
    gptq(model, seen, **AFFINE)
    with torch.no_grad():
        batches = [model[1](model[0](batch)) for batch in seen.batches]
        gram = sum(batch.T @ batch for batch in batches)
        expected = gptq_rounded(net()[2].weight.detach(), gram, Grid())
    assert not torch.equal(first.weight, model[0].weight)
    torch.testing.assert_close(model[2].weight.detach(), expected, rtol=1e-4, atol=1e-4)


def test_many_layers_are_calibrated_in_few_passes():
    torch.manual_seed(0)
    model, calls = nn.Sequential(*(nn.Linear(32, 32) for _ in range(20))), []
    model[0].register_forward_pre_hook(lambda *_: calls.append(1))
    gptq(model, Untrained(torch.zeros(1, 32), [torch.randn(8, 32)]), **AFFINE)
    assert len(calls) == 1 + 5 <= 1 + PASSES  # one finds the layers, whose 20 are in parts of 4


def test_the_gram_is_over_all_samples_and_places():
    layer = nn.Linear(4, 2)
    batches = [torch.randn(2, 5, 4), torch.randn(3, 5, 4)]
    rows = torch.cat([batch.flatten(0, 1) for batch in batches])
    with torch.no_grad():
        found = input_grams(nn.Sequential(layer), batches, [layer])
    torch.testing.assert_close(found[layer], rows.T @ rows)


def test_layers_whose_inputs_the_group_does_not_divide_stay_and_one_at_least_must_be_there():
    model = nn.Sequential(nn.Linear(64, 20), nn.Linear(20, 8))
    before = deepcopy(model)
    round_to_nearest(model, Untrained(torch.zeros(1, 64)), **AFFINE)
    assert torch.equal(model[1].weight, before[1].weight)
    assert not torch.equal(model[0].weight, before[0].weight)
    for step in (round_to_nearest, gptq, sign_round):
        with pytest.raises(CannotApply, match="has no linear layer whose inputs 32 divides"):
            step(nn.Sequential(nn.Linear(20, 8)), Untrained(torch.zeros(1, 20)), **AFFINE)
    with pytest.raises(CannotApply, match=r"has no linear layer$"):
        gptq(nn.Sequential(nn.Conv2d(3, 4, 3)), Untrained(torch.zeros(1, 3, 8, 8)), **AFFINE)


def test_pytorchs_own_transformer_layers_are_rounded_where_the_format_takes_them():
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(64, 4, 128, batch_first=True)
    before = {name: weight.clone() for name, weight in layer.state_dict().items()}
    gptq(layer, Untrained(torch.zeros(1, 5, 64), [torch.randn(8, 5, 64)]), **AFFINE)
    changed = {name for name, weight in layer.state_dict().items() if not torch.equal(weight, before[name])}
    assert changed == {"linear1.weight", "linear2.weight"}


def test_onnx_runtime_keeps_affine_weights_and_pytorch_nearly_does(tmp_path):
    torch.manual_seed(0)
    layer, inputs = nn.Linear(128, 32, bias=False).eval(), correlated(256, 128)
    with torch.no_grad():
        layer.weight.copy_(gptq_rounded(layer.weight, inputs.T @ inputs, Grid()))
        expected = layer(inputs[:8])
        found = PackedWeight.int4(layer.weight).linear(inputs[:8])
    assert (found - expected).abs().max() < 1e-3 * expected.abs().max()
    found = served(OnnxRuntime(), layer, inputs[:8], "fp32", tmp_path)
    assert (found - expected).abs().max() < 1e-4 * expected.abs().max()


def test_openvino_keeps_symmetric_weights(tmp_path):
    pytest.importorskip("openvino")
    pytest.importorskip("nncf")
    from techniques.backends.openvino_runtime import OpenVino

    torch.manual_seed(0)
    layer, inputs = nn.Linear(128, 32, bias=False), correlated(256, 128)
    backend, errors = OpenVino(), {}
    with torch.no_grad():
        for kind in ("symmetric", "affine"):
            rounded = deepcopy(layer)
            rounded.weight.copy_(gptq_rounded(layer.weight, inputs.T @ inputs, Grid(4, 32, kind)))
            (folder := tmp_path / kind).mkdir()
            found = served(backend, rounded, inputs[:8], "fp32", folder, [inputs])
            expected = rounded(inputs[:8])
            errors[kind] = float((found - expected).abs().max() / expected.abs().max())
    assert errors["symmetric"] < 1e-3 and errors["symmetric"] < 0.2 * errors["affine"]


def served(
    backend: Any,
    model: nn.Module,
    batch: torch.Tensor,
    precision: str,
    folder: Any,
    calibration: Sequence[torch.Tensor] = (),
) -> torch.Tensor:
    """Return what a model gives in int4-weight on a backend."""
    numerics = Numerics("int4-weight", precision)
    backend.lower(deepcopy(model), batch, numerics, calibration, folder)
    program = backend.load(folder, lambda: deepcopy(model), numerics, 1)
    found: torch.Tensor = program.to_tensor(program(program.prepare(batch)))
    return found.clone()


@STEPS
@pytest.mark.parametrize(("backend", "precision"), [(OnnxRuntime(), "fp32"), (Eager("cpu"), "bf16")])
def test_a_model_loses_less_in_int4_after_the_step(step, backend, precision, tmp_path):
    batch = correlated(64, 128, seed=7)
    with torch.no_grad():
        expected = net()(batch)

    def error(name: str, change: Callable[[nn.Module], nn.Module]) -> float:
        (folder := tmp_path / name).mkdir()
        found = served(backend, change(net()), batch, precision, folder)
        return float((found - expected).square().mean().sqrt() / expected.square().mean().sqrt())

    alone = error("alone", lambda model: model)
    nearest = error("nearest", lambda model: round_to_nearest(model, context(), **AFFINE))
    chosen = error("chosen", lambda model: step(model, context(), **AFFINE))
    assert chosen < 0.8 * min(alone, nearest)


def test_a_decoder_loses_less_in_int4_after_gptq(tmp_path):
    pytest.importorskip("transformers")
    from bench.workloads.language_model import SYMBOLS, CharacterGPT2

    torch.manual_seed(0)
    model = CharacterGPT2(heads=2, layers=2).eval()
    generator = torch.Generator().manual_seed(1)
    batches = [torch.randint(SYMBOLS, (32, 24), generator=generator) for _ in range(3)]
    calibration = Untrained(batches[0][:1], batches[:2])
    with torch.no_grad():
        expected = model(batches[2])
    errors = {}
    for name, step in (("gptq", gptq), ("nearest", round_to_nearest), ("alone", None)):
        changed = deepcopy(model) if step is None else step(deepcopy(model), calibration, **AFFINE)
        (folder := tmp_path / name).mkdir()
        found = served(Eager("cpu"), changed, batches[2], "bf16", folder)
        errors[name] = float((found - expected).square().mean())
    assert errors["gptq"] < 0.9 * min(errors["nearest"], errors["alone"])


def test_the_same_calibration_leaves_the_same_bits():
    one, other = (gptq(net(), context(), **AFFINE) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))
