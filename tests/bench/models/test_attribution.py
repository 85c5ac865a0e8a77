"""Attributions find the inputs that an answer rests on, and their ranks are compared."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch
from torch import nn

from bench.errors import StageError
from bench.models.attribution import ClassScores, attributions, rank_agreement
from bench.workloads.output_kinds import OutputKind

SCORES = OutputKind("scores", 1)


class Reader(nn.Module):
    """Scores (batch, 2) of texts from the mean of word vectors; only word 3 says anything."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(10, 2)
        with torch.no_grad():
            self.words.weight.zero_()
            self.words.weight[3, 1] = 5.0

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.words(tokens).mean(dim=1)


def test_features_count_by_their_weight_and_value() -> None:
    pytest.importorskip("captum")
    layer = nn.Linear(3, 2, bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[1.0, -2.0, 0.0], [0.0, 0.0, 0.0]]))
    inputs = torch.tensor([[3.0, 1.0, 9.0]])
    found = attributions(ClassScores(layer, "", SCORES), inputs, torch.tensor([0]))
    assert found.tolist()[0] == pytest.approx([3.0, -2.0, 0.0], abs=1e-5)


def test_channels_of_a_pixel_count_together() -> None:
    pytest.importorskip("captum")
    model = nn.Sequential(nn.Flatten(), nn.Linear(3 * 4 * 4, 2))
    found = attributions(ClassScores(model, "", SCORES), torch.rand(5, 3, 4, 4), torch.zeros(5).long())
    assert found.shape == (5, 16)


def test_words_count_by_their_embedding() -> None:
    pytest.importorskip("captum")
    tokens = torch.tensor([[1, 3, 2, 0], [3, 1, 1, 0]])
    found = attributions(ClassScores(Reader(), "", SCORES), tokens, torch.tensor([1, 1]))
    assert found.argmax(dim=1).tolist() == [1, 0]
    assert found.sum(dim=1).tolist() == pytest.approx([5 / 4, 5 / 4], abs=1e-3)


def test_token_numbers_without_an_embedding_have_none() -> None:
    pytest.importorskip("captum")

    class Counting(nn.Module):
        def forward(self, tokens: torch.Tensor) -> torch.Tensor:
            return torch.stack([tokens.sum(dim=1), tokens.amax(dim=1)], dim=1).float()

    with pytest.raises(StageError, match="no embedding"):
        attributions(ClassScores(Counting(), "", SCORES), torch.ones(2, 3).long(), torch.tensor([0, 1]))


def test_several_answers_for_a_sample_have_none() -> None:
    with pytest.raises(StageError, match="one answer for each sample"):
        ClassScores(nn.Identity(), "", OutputKind("scores", 2))(torch.rand(2, 5, 3))


def scored(first: nn.Module, second: nn.Module, inputs: torch.Tensor) -> np.ndarray:
    """Return the rank agreement of two models' attributions for the first class, (items,)."""
    answers = torch.zeros(len(inputs)).long()
    return rank_agreement(
        *(attributions(ClassScores(m, "", SCORES), inputs, answers) for m in (first, second))
    )


def test_equal_models_that_differ_by_rounding_agree_and_one_that_reads_elsewhere_does_not() -> None:
    pytest.importorskip("captum")
    equal, other = [], []
    for seed in range(20):
        torch.manual_seed(seed)
        model = nn.Sequential(nn.Linear(24, 16), nn.ReLU(), nn.Linear(16, 3))
        rounded, elsewhere = copy.deepcopy(model), copy.deepcopy(model)
        with torch.no_grad():
            for parameter in rounded.parameters():
                parameter.mul_(1 + 1e-6 * torch.randn_like(parameter))
            elsewhere[0].weight.copy_(model[0].weight.roll(12, dims=1))
        inputs = torch.randn(8, 24)
        equal.extend(scored(model, rounded, inputs))
        other.extend(scored(model, elsewhere, inputs))
    assert np.mean(np.array(equal) < 0.99) <= 0.05
    assert np.mean(np.array(other) < 0.9) >= 0.95


def test_ranks_are_those_of_sizes_and_what_nothing_rests_on_is_left_out() -> None:
    one = torch.tensor([[0.1, -0.4, 0.2, 0.0], [1.0, 2.0, 3.0, 0.0], [0.0, 0.0, 0.0, 0.0]])
    other = torch.tensor([[0.2, 0.9, -0.3, 0.0], [3.0, 2.0, 1.0, 0.0], [0.0, 0.0, 0.0, 0.0]])
    found = rank_agreement(one, other)
    assert found[:2] == pytest.approx([1.0, -1.0]) and math.isnan(found[2])
    assert isinstance(found, np.ndarray)
