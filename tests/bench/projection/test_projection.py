"""Projected memory and FLOPs are those that the same model has when it runs."""

from __future__ import annotations

from itertools import product

import pytest
import torch

from bench.projection.fake import repeated_blocks
from bench.projection.footprint import SMALL
from bench.projection.model import ProjectedModel
from bench.projection.optimizer import update_of
from tests.performance.projection_scores import checkpointed_training, inference, training
from tests.support.projected import FAMILIES, Size

SIZE = Size(2, 64)
TRANSFORMERS = {"decoder", "encoder"}


@pytest.fixture(params=list(FAMILIES))
def family(request):
    if request.param in TRANSFORMERS:
        pytest.importorskip("transformers")
    return FAMILIES[request.param]


@pytest.mark.parametrize("make", [training, checkpointed_training, inference])
def test_memory_is_that_of_the_same_step_and_flops_are_exact(family, make):
    found = make(family, SIZE)
    assert found.projected_flops == found.measured_flops
    # In which order a CPU's convolutions hold their copies is its own: some pad channels.
    unseen = 0.05 if family.name == "CNN" else 0.005
    assert found.projected_bytes == pytest.approx(found.measured_bytes, rel=unseen)


def test_two_traces_tell_the_peak_of_any_other_batch():
    projected = ProjectedModel(FAMILIES["CNN"].subject(SIZE), "fp32", on_gpu=False)
    footprint = projected.training(checkpointing=False)
    for batch, part in product((1, 7, 40), ("total", "activations", "temporaries")):
        direct = _traced_at(projected, batch)
        assert getattr(footprint.peak(batch), part) == getattr(direct, part)


def _traced_at(projected, batch):
    """Return the peak of a trace at that very batch: a footprint of two equal traces."""
    subject = projected.subject
    fixed = ProjectedModel(
        type(subject)(**{**vars(subject), "batch": lambda _: subject.batch(batch)}), "fp32", on_gpu=False
    )
    return fixed.training(checkpointing=False).peak(SMALL)


def test_checkpointing_keeps_less_and_computes_the_forward_pass_of_blocks_again():
    plain, again = (
        ProjectedModel(FAMILIES["CNN"].subject(Size(6, 32)), "fp32", on_gpu=False).training(checkpointing=on)
        for on in (False, True)
    )
    assert again.peak(8).activations < plain.peak(8).activations / 3
    assert plain.flops(8)[2] == 0 < again.flops(8)[2] <= again.flops(8)[0]
    assert again.flops(8)[:2] == plain.flops(8)[:2]


def test_half_the_bytes_of_a_number_are_half_the_memory():
    fp32, bf16 = (
        ProjectedModel(FAMILIES["CNN"].subject(SIZE), precision, on_gpu=False).forward().peak(8)
        for precision in ("fp32", "bf16")
    )
    assert bf16.total == pytest.approx(fp32.total / 2, rel=0.01)


def test_blocks_are_those_of_the_outermost_list():
    model = FAMILIES["CNN"].model(Size(3, 16))
    assert repeated_blocks(model) == list(model.blocks)
    assert repeated_blocks(torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Linear(2, 2))) == []


def test_an_optimizer_s_state_is_that_of_its_theory_and_mixed_precision_keeps_fp32_weights():
    projected = ProjectedModel(FAMILIES["CNN"].subject(SIZE), "mixed", on_gpu=True)
    elements = sum(entry.numel() for entry in projected.model.parameters())
    update = update_of("adamw", projected.model, mixed=True, all_at_once=True)
    assert update.state == 8 * elements and update.master_weights == 4 * elements
    assert update_of("sgd", projected.model, mixed=True, all_at_once=True).state == 0
    assert update_of("adamw:variant=fused", projected.model, mixed=True, all_at_once=True).temporaries == 0
    one_by_one = update_of("adamw", projected.model, mixed=False, all_at_once=False).temporaries
    assert 0 < one_by_one < update.temporaries
