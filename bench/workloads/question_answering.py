"""Extractive question answering: which words of a passage answer a question."""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Callable, Iterable

import torch
from torch import nn

from bench.workloads import factbook_questions, text_encoder
from bench.workloads.factbook_questions import LENGTH, LONGEST_ANSWER
from bench.workloads.splits import data_of
from bench.workloads.text_encoder import TextEncoder
from bench.workloads.words import PADDING
from bench.workloads.workload import Data, Workload

_SEPARATOR, _VOCABULARY = 102, 30_522
MASKED = -30.0
"""The score of a position outside the passage: no answer's, yet of the size of scores. A larger one would be
all that a difference between outputs is compared with, and all that a quantized output can tell apart."""
_FIRST_WORDS = 2


class SpanReader(nn.Module):
    """An encoder and one linear layer; input (batch, LENGTH) tokens, output (batch, 2, LENGTH).

    The outputs are scores of each position to be the answer's first and its last, as BERT does it for SQuAD
    (Devlin et al. 2019).
    """

    def __init__(self, encoder: TextEncoder) -> None:
        super().__init__()
        self.bert = encoder.bert
        self.scores = nn.Linear(encoder.width, 2)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Return scores (batch, 2, LENGTH); `MASKED` outside the passage."""
        separator = (tokens == _SEPARATOR).long()
        second = separator.cumsum(dim=1) - separator == 1  # the passage and its [SEP]
        states = self.bert(
            input_ids=tokens,
            attention_mask=(tokens != PADDING).long(),
            token_type_ids=second.long(),
        ).last_hidden_state
        scores: torch.Tensor = self.scores(states).transpose(1, 2)
        within = second & (tokens != _SEPARATOR)
        return scores.masked_fill(~within.unsqueeze(1), MASKED)


def reader(heads: int, layers: int) -> SpanReader:
    """Return a reader with new weights, of so many heads and layers."""
    return SpanReader(text_encoder.small(_VOCABULARY, LENGTH, max(1, heads), layers, dropout=0.0))


def span_loss(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return the mean cross-entropy of both ends; outputs (batch, 2, LENGTH), targets (batch, 3)."""
    return nn.functional.cross_entropy(outputs.flatten(0, 1), targets[:, :2].flatten())


def best_spans(outputs: torch.Tensor) -> torch.Tensor:
    """Return the first and last positions (samples, 2) of the highest sum of scores in `LONGEST_ANSWER`.

    Outputs are scores (samples, 2, LENGTH).
    """
    sums = outputs[:, 0, :, None] + outputs[:, 1, None, :]
    length = outputs.shape[2]
    allowed = torch.ones(length, length, dtype=torch.bool).triu().tril(LONGEST_ANSWER - 1)
    best = sums.masked_fill(~allowed, -torch.inf).flatten(1).argmax(dim=1)
    return torch.stack([best // length, best % length], dim=1)


def normalized(text: str) -> list[str]:
    """Return the words of an answer as SQuAD compares them: lower case, no punctuation, no articles."""
    plain = "".join(character for character in text.lower() if character not in string.punctuation)
    return re.sub(r"\b(a|an|the)\b", " ", plain).split()


def overlap(answer: str, right: str) -> float:
    """Return the F1, 0 to 1, of an answer's words against the right ones' (SQuAD, Rajpurkar et al. 2016)."""
    found, wanted = normalized(answer), normalized(right)
    if not found or not wanted:
        return float(found == wanted)
    common = (Counter(found) & Counter(wanted)).total()
    return 2 * common / (len(found) + len(wanted))


def answer_quality(outputs: torch.Tensor, targets: torch.Tensor) -> dict[str, float]:
    """Return mean F1 and the share of exact matches of the best spans, as text.

    Outputs are scores (samples, 2, LENGTH), targets (samples, 3).
    """
    answers, right = _texts(best_spans(outputs), targets), _texts(targets, targets)
    exact = [normalized(one) == normalized(other) for one, other in zip(answers, right, strict=True)]
    return {"f1": _mean_overlap(answers, right), "exact_match": sum(exact) / len(exact)}


def without_reading(data: Data) -> dict[str, float]:
    """Return the F1 of a passage's first words, and of the training's usual answer to the same question."""
    questions = factbook_questions.load()
    right = _texts(data.test_targets, data.test_targets)
    passages = questions.passages[data.test_targets[:, 2].numpy()]
    first = [" ".join(passage.split()[:_FIRST_WORDS]) for passage in passages]
    return {
        "first words of the passage": _mean_overlap(first, right),
        "usual answer to the question": _mean_overlap(questions.usual_answers[: len(right)], right),
    }


def _texts(spans: torch.Tensor, targets: torch.Tensor) -> list[str]:
    """Return what spans of tokens (samples, 2 or more) are in the passages of their targets (samples, 3)."""
    questions = factbook_questions.load()
    texts = []
    for (first, last), number in zip(spans[:, :2].tolist(), targets[:, 2].tolist(), strict=True):
        characters = questions.characters[number]
        texts.append(str(questions.passages[number])[characters[first, 0] : characters[last, 1]])
    return texts


def _mean_overlap(answers: Iterable[str], right: list[str]) -> float:
    return sum(overlap(one, other) for one, other in zip(answers, right, strict=True)) / len(right)


def _data() -> Data:
    return data_of(vars(factbook_questions.load()))


def _workload(model: Callable[[], nn.Module], heads: int, layers: int) -> Workload:
    """Return the workload of a reader of so many heads and layers, which its students have a share of."""
    return Workload(
        data=_data,
        transform=lambda tokens: tokens,
        model=model,
        loss=span_loss,
        quality=answer_quality,
        answers=best_spans,
        student=lambda width: reader(round(width * heads), layers),
        shallow_student=lambda depth: reader(heads, max(1, round(depth * layers))),
        baselines=without_reading,
    )


FACTBOOK_MINILM = _workload(lambda: SpanReader(text_encoder.minilm()), heads=12, layers=6)
FACTBOOK_BERT = _workload(lambda: reader(heads=4, layers=3), heads=4, layers=3)
