"""Whole residual blocks go: those without which the outputs change least."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from bench.workloads.cached_decoding import CachedDecoding
from bench.workloads.image_classification import SimpleCNN
from bench.workloads.language_model import CharacterGPT2
from bench.workloads.vision_models import ResNet18, VisionTransformer
from techniques.compression.blocks import blocks, remove_layers, remove_layers_random
from techniques.registry import CannotApply
from techniques.replacements import Skip
from tests.support.untrained import Untrained

IMAGES = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(1))


def vit(layers: int = 4) -> nn.Module:
    torch.manual_seed(0)
    return VisionTransformer(size=8, patch=4, layers=layers, heads=1).eval()


def quiet(model: nn.Module, *numbers: int) -> None:
    with torch.no_grad():
        for number in numbers:
            for layer in (model.blocks[number].output, model.blocks[number].feed_forward[2]):
                layer.weight.zero_()
                layer.bias.zero_()


def removed(model: nn.Module) -> list[int]:
    return [number for number, block in enumerate(model.blocks) if isinstance(block, Skip)]


def test_blocks_are_those_of_a_sequence_that_keep_their_inputs_shape():
    assert blocks(vit(), IMAGES) == [f"blocks.{number}" for number in range(4)]
    assert blocks(ResNet18().eval(), IMAGES) == [f"blocks.{number}" for number in (0, 1, 3, 5, 7)]


def test_blocks_that_add_nothing_go_first_and_the_outputs_stay():
    model = vit()
    quiet(model, 1, 3)
    before = model(IMAGES)
    remove_layers(model, Untrained(IMAGES[:1], [IMAGES]), share=0.5)
    assert removed(model) == [1, 3]
    torch.testing.assert_close(model(IMAGES), before)


@pytest.mark.parametrize(("share", "left"), [(0.0, 4), (0.01, 3), (0.5, 2), (0.99, 1)])
def test_one_block_goes_at_least_and_one_stays(share, left):
    model = remove_layers(vit(), Untrained(IMAGES[:1], [IMAGES]), share=share)
    assert 4 - len(removed(model)) == left


def test_lots_are_drawn_by_the_seed():
    def left(seed: int) -> list[int]:
        context = Untrained(IMAGES[:1])
        context.seed = seed
        return removed(remove_layers_random(vit(), context, share=0.5))

    assert left(3) == left(3)
    assert len({tuple(left(seed)) for seed in range(8)}) > 1


@torch.no_grad()
def test_a_decoder_without_its_first_layer_still_continues_texts():
    torch.manual_seed(0)
    model = CharacterGPT2(heads=1).eval()
    for block in (model.decoder.transformer.h[0],):
        for layer in (block.attn.c_proj, block.mlp.c_proj):
            layer.weight.zero_()
            layer.bias.zero_()
    tokens = torch.arange(12).view(1, 12)
    remove_layers(model, Untrained(tokens, [tokens]), share=0.25)
    assert isinstance(model.decoder.transformer.h[0], Skip)
    decoding = CachedDecoding(model)
    _, cache = decoding.prefill(tokens[:, :11])
    scores, cache = decoding.decode(tokens[:, 11:], cache)
    torch.testing.assert_close(scores, model(tokens)[:, -1])
    assert decoding.cache_bytes(cache) == 3 * 2 * 12 * 32 * 4


def test_a_model_without_such_blocks_is_refused():
    with pytest.raises(CannotApply, match="0 blocks of layers that keep the shape"):
        remove_layers(SimpleCNN(8), Untrained(IMAGES, [IMAGES]), share=0.5)
