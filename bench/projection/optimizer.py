"""What an optimizer needs: its state by its row, its temporaries from a small update."""

from __future__ import annotations

import torch
from torch import nn

from bench.errors import BenchError
from bench.instruments.tensors import optimizer_tensors
from bench.projection.parallel import Update
from bench.projection.trace import Alive
from techniques.optimizers import OPTIMIZERS, OptimizerRow
from techniques.optimizers.row import Shape
from techniques.optimizers.torch_optim import AUTO, FOREACH, FUSED, build, evaluates_by_closure, grouped
from techniques.registry import CannotApply, Technique

_SIDE = 128
"""Side of the matrix whose update is watched: large enough that numbers for the whole of it do not count."""

_FP32_BYTES = 4


def update_of(text: str, model: nn.Module, *, mixed: bool, all_at_once: bool) -> Update:
    """Return what an optimizer adds to a model of fake parameters, all on one device.

    `mixed`: it updates fp32 copies of the weights, and its state is of their type (Micikevicius et al. 2018).
    `all_at_once`: PyTorch updates all tensors in one go, as it does by default on a GPU; else one by one.
    Raises BenchError where the optimizer does not train the model, or where its state is not known.
    """
    technique = OPTIMIZERS.parse(text)
    obstacle = technique.row.unavailable()
    if obstacle:
        raise BenchError(f"--optimizer {technique.name}: {obstacle}")
    trained = [entry for entry in model.parameters() if entry.requires_grad]
    try:
        groups = grouped(build(technique, model), model, technique.name)
    except CannotApply as error:
        raise BenchError(f"--optimizer {technique.text}: {error}") from None
    shapes = {label: [_shape(shape, mixed) for shape in own.values()] for label, own in groups.items()}
    state = technique.row.state_bytes(shapes, technique.settings)
    if state is None:
        raise BenchError(f"--optimizer {technique.name}: its row does not say what state it keeps")
    state += technique.row.surplus_bytes(shapes, technique.settings)
    elements = [entry.numel() for entry in trained]
    itemsize = _FP32_BYTES if mixed or not trained else trained[0].element_size()
    variant = technique.settings.get("variant")
    at_once = variant == FOREACH or (variant == AUTO and all_at_once)
    scope = sum(elements) if at_once else max(elements, default=0)
    copies = 0.0 if variant == FUSED else _temporaries(technique, FOREACH if at_once else "")
    return Update(
        state,
        _FP32_BYTES * sum(elements) if mixed else 0,
        round(copies * itemsize * scope),
    )


def _shape(shape: Shape, mixed: bool) -> Shape:
    return Shape(shape.sizes, _FP32_BYTES) if mixed else shape


def _temporaries(technique: Technique[OptimizerRow], variant: str) -> float:
    """Return the most that an update holds beside parameters, gradients and state, in bytes of parameters.

    0 for an optimizer that goes over the model itself, whose temporaries are a step's.
    """
    model = nn.Linear(_SIDE, _SIDE, bias=False)
    settings = {**technique.settings, **({"variant": variant} if variant else {})}
    optimizer = build(Technique(technique.row, settings), model)
    if evaluates_by_closure(optimizer):
        return 0.0
    with torch.random.fork_rng(devices=[]):
        for _ in range(2):  # the state is there after the first
            model.weight.grad = torch.randn_like(model.weight)
            with Alive() as alive:
                alive.numbers([model.weight, model.weight.grad, *optimizer_tensors(optimizer)])
                before = sum(alive.sizes)
                try:
                    optimizer.step()
                except (TypeError, AssertionError, RuntimeError, ValueError):  # it wants the loss as well
                    return 0.0
                events, sizes = alive.events, alive.sizes
    total, most = 0, 0
    for event in events:
        total += sizes[abs(event) - 1] if event > 0 else -sizes[abs(event) - 1]
        most = max(most, total)
    return max(0, most - before) / (model.weight.numel() * model.weight.element_size())
