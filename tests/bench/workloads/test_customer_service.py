"""Customer service: topics and answers; no question is in two parts, and rankings have known answers."""

from __future__ import annotations

import math
import re
from itertools import combinations, pairwise, product

import pytest
import torch

from bench import datasets
from bench.datasets import chatterbot
from bench.datasets.chatterbot import Exchange
from bench.errors import DataError
from bench.workloads.customer_service import (
    LENGTH,
    SERVICE_ANSWERS_MINILM,
    SHARPNESS,
    TEST_QUESTIONS,
    Matcher,
    chosen,
    matching_loss,
    ranking,
)
from bench.workloads.text_classification import SERVICE_TOPICS_MINILM, TOPICS
from bench.workloads.words import PADDING
from bench.workloads.workload import Data, Workload


def pairs(cosines: list[list[float]]) -> torch.Tensor:
    """Return vectors (questions, 2, width) that have these cosines: questions along axes, answers as said."""
    answers = torch.tensor(cosines).T
    return torch.stack([torch.eye(len(cosines)), answers], dim=1)


def test_ranks_of_right_answers_are_counted_from_one() -> None:
    outputs = pairs([[0.9, 0.1, 0.2], [0.8, 0.3, 0.1], [0.5, 0.4, 0.1]])
    found = ranking(outputs, torch.arange(3))  # ranks 1, 2, 3
    assert found["hit_rate_at_1"] == pytest.approx(1 / 3)
    assert found["mean_reciprocal_rank"] == pytest.approx((1 + 1 / 2 + 1 / 3) / 3)
    assert chosen(outputs).tolist() == [0, 0, 0]


def test_the_same_answer_to_another_question_is_right_too() -> None:
    outputs = pairs([[0.1, 0.9], [0.1, 0.9]])
    assert ranking(outputs, torch.tensor([7, 7]))["hit_rate_at_1"] == 1.0
    assert ranking(outputs, torch.tensor([7, 8]))["hit_rate_at_1"] == 0.5


def test_ties_and_what_is_no_number_count_against_the_right_answer() -> None:
    assert ranking(pairs([[0.5, 0.5], [0.5, 0.5]]), torch.arange(2))["hit_rate_at_1"] == 0.0
    broken = torch.full((2, 2, 2), math.nan)
    assert ranking(broken, torch.arange(2))["hit_rate_at_1"] == 0.0


def test_the_loss_is_the_cross_entropy_among_the_batch_without_equal_answers() -> None:
    outputs = pairs([[0.2, 0.1], [0.1, 0.2]])
    wrong = math.exp(SHARPNESS * 0.1) / (math.exp(SHARPNESS * 0.1) + math.exp(SHARPNESS * 0.2))
    assert matching_loss(outputs, torch.tensor([0, 1])).item() == pytest.approx(-math.log(1 - wrong))
    assert matching_loss(outputs, torch.tensor([5, 5])).item() == pytest.approx(0.0, abs=1e-6)


def of_one_part(questions: list[str], answers: list[str]) -> bool:
    """Say whether two exchanges among twenty others are in one part, in whatever order the files are."""
    others = [Exchange(f"question {number} of twenty", f"answer {number}", "t") for number in range(20)]
    pair = [Exchange(*said, "t") for said in zip(questions, answers, strict=True)]
    found, again = (chatterbot.parts(given, 7) for given in ([*others, *pair], [*pair, *others][::-1]))
    assert found == again and [len(found[name]) for name in ("test", "validation", "train")] == [7, 7, 8]
    return any(pair[0] in part and pair[1] in part for part in found.values())


def test_one_answer_or_nearly_one_question_is_in_one_part() -> None:
    one, other = "why does my old printer not print", "Why, does my old printer now not print?"
    for question, answer in ((other, "other"), ("something else", "One.")):
        assert of_one_part([one, question], ["one", answer])


def test_what_differs_by_more_words_is_taken_apart_somewhere() -> None:
    numbers = [f"{number} {number + 100} {number + 200} x" for number in range(8)]
    assert not all(of_one_part([first, second], ["a", "b"]) for first, second in pairwise(numbers))


def test_no_test_question_is_nearly_one_of_training_and_no_answer_is_in_two_parts(
    exchanges: tuple[Exchange, ...],
) -> None:
    parts = chatterbot.parts(exchanges, TEST_QUESTIONS)
    words = {
        name: [frozenset(re.findall(r"\w+", one.question.lower())) for one in part]
        for name, part in parts.items()
    }
    answers = {name: {one.answer.lower() for one in part} for name, part in parts.items()}
    for one, other in combinations(parts, 2):
        assert not any(
            chatterbot.nearly_same(first, second) for first, second in product(words[one], words[other])
        )
        assert not answers[one] & answers[other]


@pytest.fixture(scope="module")
def exchanges() -> tuple[Exchange, ...]:
    return loaded("chatterbot-corpus")


def loaded(name: str) -> tuple[Exchange, ...]:
    try:
        datasets.fetch(name)
    except DataError as error:
        pytest.skip(f"needs {name}: {error}")
    found: tuple[Exchange, ...] = datasets.load(name) if name != "minilm" else ()
    return found


def test_questions_are_there_once_on_the_topics_that_the_classes_name(
    exchanges: tuple[Exchange, ...],
) -> None:
    questions = {exchange.question.lower() for exchange in exchanges}
    assert len(exchanges) == len(questions) == 748
    assert chatterbot.topics(exchanges) == TOPICS
    assert all(exchange.question and exchange.answer for exchange in exchanges)


@pytest.mark.parametrize(
    "workload", [SERVICE_ANSWERS_MINILM, SERVICE_TOPICS_MINILM], ids=["answers", "topics"]
)
def test_no_question_is_in_two_parts(workload: Workload, exchanges: tuple[Exchange, ...]) -> None:
    pytest.importorskip("tokenizers")
    loaded("minilm")
    data: Data = workload.data()
    assert data.validation is not None
    parts = (data.train_inputs, data.validation.inputs, data.test_inputs)
    rows = [{tuple(row.flatten()[:LENGTH].tolist()) for row in part} for part in parts]
    assert not rows[0] & rows[1] and not rows[0] & rows[2] and not rows[1] & rows[2]
    assert len(data.test_inputs) == len(data.validation.inputs) >= TEST_QUESTIONS - 10


def test_padding_is_not_read_and_vectors_have_length_one() -> None:
    pytest.importorskip("transformers")
    from bench.workloads import text_encoder

    model = Matcher(text_encoder.small(100, LENGTH, 1, 1, dropout=0.0)).eval()
    tokens = torch.randint(2, 100, (3, 2, LENGTH), generator=torch.Generator().manual_seed(0))
    tokens[:, :, 5:] = PADDING
    with torch.no_grad():
        whole, short = model(tokens), model(tokens[:, :, :5])
    assert torch.allclose(whole, short, atol=1e-5)
    assert torch.allclose(whole.norm(dim=2), torch.ones(3, 2), atol=1e-5)
