"""Customer service: which of the answers at hand is the right one to a question.

Question and answer are read by the same encoder, and compared by the cosine of their states (Reimers &
Gurevych, arXiv:1908.10084). In training the other answers of a batch are the wrong ones (Henderson et al.,
arXiv:1705.00652).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from bench import datasets
from bench.datasets import chatterbot
from bench.datasets.chatterbot import Exchange
from bench.datasets.prepared import prepared
from bench.workloads import text_encoder
from bench.workloads.pieces import encode_pieces
from bench.workloads.splits import data_of
from bench.workloads.text_encoder import TextEncoder, mean_state
from bench.workloads.workload import Data, Workload

if TYPE_CHECKING:
    from bench.datasets.prepared import Arrays

LENGTH = 32
"""Pieces of words that are read of a question or an answer: all, in 9 of 10 of them."""
TEST_QUESTIONS = 150
SHARPNESS = 20.0
"""What cosines are multiplied by ahead of the softmax."""


class Matcher(nn.Module):
    """An encoder and the mean of its states; input int64 (batch, 2, LENGTH), output (batch, 2, width).

    Each question and its answer become a vector of length 1.
    """

    def __init__(self, encoder: TextEncoder) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Return vectors (batch, 2, width) of length 1."""
        mean = mean_state(self.encoder, tokens.flatten(0, 1))
        return nn.functional.normalize(mean, dim=1).unflatten(0, (-1, 2))


def cosines(outputs: torch.Tensor) -> torch.Tensor:
    """Return how like each question is to each answer, (batch, batch), from outputs (batch, 2, width)."""
    return outputs[:, 0] @ outputs[:, 1].T


def matching_loss(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return the mean cross-entropy of each question's own answer among the batch's.

    Outputs (batch, 2, width), targets (batch,): the numbers of answers. The same answer to another question
    is no wrong one.
    """
    own = torch.arange(len(targets), device=outputs.device)
    same = (targets.unsqueeze(1) == targets) & (own.unsqueeze(1) != own)
    scores = (SHARPNESS * cosines(outputs)).masked_fill(same, -torch.inf)
    return nn.functional.cross_entropy(scores, own)


def chosen(outputs: torch.Tensor) -> torch.Tensor:
    """Return which answer is most like each question, (questions,), from outputs (questions, 2, width)."""
    return cosines(outputs).argmax(dim=1)


def ranking(outputs: torch.Tensor, targets: torch.Tensor) -> dict[str, float]:
    """Return the share of questions whose right answer is first of all, and the mean of 1 / its rank.

    Outputs (questions, 2, width), targets (questions,): the numbers of answers. Ties and scores that are no
    numbers count against the right answer.
    """
    scores = cosines(outputs)
    right = targets.unsqueeze(1) == targets
    best = scores.masked_fill(~right, -torch.inf).amax(dim=1, keepdim=True)
    ahead = (~(scores < best) & ~right).sum(dim=1)
    return {
        "hit_rate_at_1": (ahead == 0).double().mean().item(),
        "mean_reciprocal_rank": (1 / (1 + ahead.double())).mean().item(),
    }


def _data() -> Data:
    return data_of(_arrays(), torch.int64)


def _arrays() -> Arrays:
    return prepared("chatterbot-corpus", __file__, _prepare)


def _prepare() -> Arrays:
    parts = chatterbot.parts(datasets.load("chatterbot-corpus"), TEST_QUESTIONS)
    numbers: dict[str, int] = {}
    arrays: dict[str, NDArray[Any]] = {"by_words": _most_alike(parts["test"])}
    for name, part in parts.items():
        said = [text for one in part for text in (one.question, one.answer)]
        arrays[f"{name}_inputs"] = encode_pieces(said, LENGTH).reshape(-1, 2, LENGTH)
        arrays[f"{name}_targets"] = np.array(
            [numbers.setdefault(one.answer.lower(), len(numbers)) for one in part]
        )
    return arrays


def _most_alike(exchanges: Sequence[Exchange]) -> NDArray[np.int64]:
    """Return which answer has the words most like each question's, by cosine of TF-IDF, (questions,)."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    questions, answers = ([getattr(one, part) for one in exchanges] for part in ("question", "answer"))
    vectorizer = TfidfVectorizer().fit([*questions, *answers])
    likeness = vectorizer.transform(questions) @ vectorizer.transform(answers).T
    best: NDArray[np.int64] = likeness.toarray().argmax(axis=1)
    return best


def _without_training(data: Data) -> dict[str, float]:
    """Return the share of right answers by words in common, and by MiniLM as it comes."""
    targets = data.test_targets
    by_words = torch.as_tensor(_arrays()["by_words"].astype(np.int64))[: len(targets)]
    found = targets[by_words.clamp(max=len(targets) - 1)] == targets
    untrained = Matcher(text_encoder.minilm()).eval()
    with torch.no_grad():
        pretrained = ranking(untrained(data.test_inputs), targets)["hit_rate_at_1"]
    return {"most words in common": found.double().mean().item(), "MiniLM without training": pretrained}


# No students: a narrower MiniLM has no trained weights.
SERVICE_ANSWERS_MINILM = Workload(
    data=_data,
    transform=lambda tokens: tokens,
    model=lambda: Matcher(text_encoder.minilm()),
    loss=matching_loss,
    quality=ranking,
    outputs="values",
    answers=chosen,
    baselines=_without_training,
)
