"""The workload of masked characters: what is masked, what is learnt from, what is judged."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from bench import datasets
from bench.errors import DataError
from bench.workloads import masked_language_model
from bench.workloads.masked_language_model import (
    LENGTH,
    MASK,
    UNKNOWN,
    UNMASKED,
    VOCABULARY,
    WORDNET_BERT,
    MaskedLanguageModel,
    accuracy_and_likelihood,
    frequent_characters,
    mask,
    masked_cross_entropy,
    numbered,
)
from bench.workloads.words import PADDING
from bench.workloads.workload import Data
from tests.support.learning import losses_of

pytest.importorskip("transformers")


@pytest.fixture(scope="module")
def data() -> Data:
    try:
        datasets.fetch("wordnet")
    except DataError as error:
        pytest.skip(f"needs WordNet: {error}")
    return WORDNET_BERT.data()


@pytest.fixture(scope="module")
def model() -> torch.nn.Module:
    torch.manual_seed(0)
    return MaskedLanguageModel().eval()


def rows(lengths: tuple[int, ...]) -> np.ndarray:
    """Return rows of tokens, none of them a mark, each followed by padding."""
    drawn = np.random.default_rng(0).integers(3, VOCABULARY, (len(lengths), LENGTH), dtype=np.int32)
    for row, kept in zip(drawn, lengths, strict=True):
        row[kept:] = PADDING
    return drawn


def test_a_share_of_each_text_is_masked_at_least_one_and_never_padding() -> None:
    tokens = rows((1, 4, 20, 64))
    inputs, targets = mask(tokens, seed=0)
    assert (targets != UNMASKED).sum(axis=1).tolist() == [1, 1, 6, 19]
    assert (np.where(targets == UNMASKED, inputs, targets) == tokens).all()
    assert ((inputs == MASK) == (targets != UNMASKED)).all()
    again, _ = mask(tokens, seed=0)
    assert (again == inputs).all()


def test_characters_are_numbered_in_lower_case_others_are_unknown_and_padding_follows() -> None:
    (row,) = numbered(["Ab é"])
    assert row[:4].tolist() == [4, 5, 3, UNKNOWN] and set(row[4:]) == {PADDING}
    (long,) = numbered(["a" * 100])
    assert len(long) == LENGTH and set(long) == {4}


def test_every_text_of_the_data_has_a_masked_token_and_none_is_on_both_sides(data: Data) -> None:
    assert len(data.test_inputs) == masked_language_model.TEST_DEFINITIONS
    assert data.validation is not None
    parts = (
        (data.train_inputs, data.train_targets),
        (data.validation.inputs, data.validation.targets),
        (data.test_inputs, data.test_targets),
    )
    for inputs, targets in parts:
        assert inputs.shape[1] == LENGTH and int(inputs.max()) < VOCABULARY
        assert bool((targets != UNMASKED).any(dim=1).all())
        assert torch.equal(inputs == MASK, targets != UNMASKED)
    train, validation, test = (
        {tuple(row) for row in torch.where(targets == UNMASKED, inputs, targets).tolist()}
        for inputs, targets in parts
    )
    # Texts that begin alike and are cut off then are few.
    assert len(train & test) <= 5 and len(train & validation) <= 5 and len(validation & test) <= 5


def test_only_masked_tokens_are_judged() -> None:
    targets = torch.full((2, LENGTH), UNMASKED)
    targets[0, 3], targets[1, 5], targets[1, 6] = 10, 20, 30
    uniform = accuracy_and_likelihood(torch.zeros(2, LENGTH, VOCABULARY), targets)
    assert uniform["likelihood"] == pytest.approx(1 / VOCABULARY)
    assert uniform["nats"] == pytest.approx(math.log(VOCABULARY))
    outputs = torch.zeros(2, LENGTH, VOCABULARY)
    outputs[0, 3, 10] = outputs[1, 5, 20] = outputs[1, 6, 31] = 100.0
    assert accuracy_and_likelihood(outputs, targets)["accuracy"] == pytest.approx(2 / 3)


def test_the_loss_is_that_of_the_masked_tokens() -> None:
    outputs = torch.randn(2, LENGTH, VOCABULARY, generator=torch.Generator().manual_seed(0))
    _, targets = mask(rows((9, 64)), seed=0)
    expected = torch.nn.functional.cross_entropy(
        outputs.flatten(0, 1), torch.as_tensor(targets).long().flatten(), ignore_index=UNMASKED
    )
    found = masked_cross_entropy(outputs, torch.as_tensor(targets).long())
    assert found.item() == pytest.approx(expected.item(), rel=1e-5)


def test_frequent_characters_are_counted_in_the_training_set() -> None:
    text = torch.tensor([[5, 6, 5, 7, 5, 6, *[PADDING] * (LENGTH - 6)]])
    inputs, targets = text.clone(), torch.full_like(text, UNMASKED)
    inputs[0, 1], targets[0, 1] = MASK, 6
    inputs[0, 4], targets[0, 4] = MASK, 5
    found = frequent_characters(Data(inputs, targets, inputs, targets))
    assert found == {"most frequent character": 0.5, "most frequent after the one before": 1.0}


def test_the_character_before_tells_more_than_nothing(data: Data) -> None:
    alone, after = frequent_characters(data).values()
    assert 0.1 < alone < after < 0.3


def test_padding_is_not_read(model: torch.nn.Module) -> None:
    tokens = torch.as_tensor(rows((12,))).long()
    with torch.no_grad():
        assert torch.allclose(model(tokens)[:, :12], model(tokens[:, :12]), atol=1e-5)


def test_it_can_be_exported(model: torch.nn.Module) -> None:
    batch = torch.as_tensor(rows((12, 64))).long()
    exported = torch.export.export(model, (batch,)).module()
    with torch.no_grad():
        assert torch.allclose(exported(batch), model(batch), atol=1e-4)


def test_the_loss_falls_on_a_few_texts() -> None:
    inputs, targets = (torch.as_tensor(part).long() for part in mask(rows((9, 64)), seed=0))
    torch.manual_seed(0)
    losses = losses_of(WORDNET_BERT, MaskedLanguageModel(heads=2), inputs, targets, steps=20, rate=3e-3)
    assert losses[0] == pytest.approx(math.log(VOCABULARY), rel=0.1) and losses[-1] < 0.7 * losses[0]
