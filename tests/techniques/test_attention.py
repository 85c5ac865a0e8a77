"""Whole attention heads go, and what is left computes what it computed without them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from bench.workloads.encoder_decoder import EncoderDecoder
from bench.workloads.language_model import CharacterGPT2
from bench.workloads.text_encoder import small
from bench.workloads.vision_models import VisionTransformer
from techniques.compression.attention import attentions, prune_heads, prune_heads_random, remove
from techniques.compression.channels import prune_channels
from techniques.registry import CannotApply
from tests.support.untrained import Untrained

TOKENS = torch.arange(1, 25).view(2, 12)


def vit() -> nn.Module:
    return VisionTransformer(size=8, patch=4, layers=2, heads=4)


def translator() -> nn.Module:
    return EncoderDecoder(32, 6, 6, width=16, layers=1, heads=4)


MODELS: list[tuple[Callable[[], nn.Module], torch.Tensor]] = [
    (vit, torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(1))),
    (translator, TOKENS),
    (lambda: small(32, 12, heads=4, layers=2, dropout=0.0), TOKENS),
    (lambda: CharacterGPT2(heads=4), TOKENS),
]


def made(make: Callable[[], nn.Module]) -> nn.Module:
    torch.manual_seed(0)
    return make().eval()


@pytest.mark.parametrize(("make", "inputs"), MODELS)
@torch.no_grad()
def test_without_heads_the_model_is_the_one_whose_heads_are_silent(make, inputs):
    model, silent = made(make), made(make)
    kept = torch.tensor([0, 3])
    for each, other in zip(list(attentions(model)), list(attentions(silent)), strict=True):
        columns = torch.ones(4, each.width)
        columns[[1, 2]] = 0
        other.output.weight *= columns.flatten()
        remove(each, kept)
    torch.testing.assert_close(model(inputs), silent(inputs))


@pytest.mark.parametrize(("make", "inputs"), MODELS)
def test_every_attention_loses_its_share_of_heads(make, inputs):
    model = made(make)
    before = sum(parameter.numel() for parameter in model.parameters())
    widths = [each.width for each in attentions(model)]
    prune_heads(model, Untrained(inputs[:1], [inputs]), share=0.5)
    assert [(each.heads, each.width) for each in attentions(model)] == [(2, width) for width in widths]
    removed = sum(parameter.numel() for parameter in model.parameters()) - before
    assert removed < 0


def test_the_heads_that_say_nothing_go():
    model, inputs = made(vit), MODELS[0][1]
    first = next(attentions(model))
    with torch.no_grad():
        first.output.weight[:, 32:96] = 0
    kept = first.inputs[2].weight.detach()[list(range(32)) + list(range(96, 128))].clone()
    prune_heads(model, Untrained(inputs[:1], [inputs]), share=0.5)
    assert torch.equal(next(attentions(model)).inputs[2].weight, kept)


def test_one_head_stays_and_lots_are_drawn_by_the_seed():
    def left(seed: int) -> torch.Tensor:
        model, context = made(vit), Untrained(MODELS[0][1][:1])
        context.seed = seed
        prune_heads_random(model, context, share=0.99)
        assert [each.heads for each in attentions(model)] == [1, 1]
        return torch.cat([each.inputs[0].weight.flatten() for each in attentions(model)])

    assert torch.equal(left(1), left(1))
    assert not all(torch.equal(left(1), left(seed)) for seed in range(2, 6))


def test_a_model_without_heads_or_with_too_few_is_refused():
    with pytest.raises(CannotApply, match="prune-heads: found no attention"):
        prune_heads(nn.Linear(2, 2), Untrained(torch.zeros(1, 2)), share=0.5)
    with pytest.raises(CannotApply, match=r"0\.1 of 4 heads is less than one"):
        prune_heads(made(vit), Untrained(MODELS[0][1]), share=0.1)


def test_channels_of_a_fused_attention_are_refused_in_words_that_say_what_would_work():
    with pytest.raises(
        CannotApply, match=r"h\.0\.attn makes queries, keys and values in one layer .*prune-heads"
    ):
        prune_channels(made(lambda: CharacterGPT2(heads=2)), Untrained(TOKENS), share=0.5)
