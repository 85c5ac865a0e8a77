from itertools import chain
from pathlib import Path

import numpy as np
import pytest
import torch

from bench import datasets
from bench.errors import DataError
from bench.workloads import factbook_questions
from bench.workloads.factbook_questions import LENGTH, LONGEST_ANSWER, Fact, compose, facts
from bench.workloads.question_answering import (
    FACTBOOK_BERT,
    FACTBOOK_MINILM,
    MASKED,
    answer_quality,
    best_spans,
    normalized,
    overlap,
    reader,
    span_loss,
)

CLS, SEP = 101, 102


@pytest.fixture(scope="session")
def questions() -> factbook_questions.Questions:
    """The real questions, made once and kept in the cache."""
    try:
        for name in ("world-factbook", "minilm"):
            datasets.fetch(name)
    except DataError as error:
        pytest.skip(f"needs the World Factbook and MiniLM's tokenizer: {error}")
    return factbook_questions.load()


def test_facts_are_plain_text_once_each_and_none_is_doubtful() -> None:
    entry = {
        "Geography": {
            "Area": {"total ": {"text": "28 sq km"}, "note": "<b>note:</b> no fact"},
            "Climate": {"text": "<p>hot&nbsp;&amp; dry</p>"},
            "Land use": {"agricultural land: arable land": {"text": "arable land: 6% (2023 est.)"}},
            "Coastline": {"text": "5 km"},
        },
        "Environment": {"Climate": {"text": "hot &amp; dry"}, "Coastline": {"text": "6 km"}},
    }
    assert facts(entry) == [
        Fact("Area", "total", "28 sq km"),
        Fact("Climate", "", "hot & dry"),
        Fact("Land use", "agricultural land: arable land", "6% (2023 est.)"),
    ]


@pytest.mark.parametrize(
    ("value", "answer"),
    [
        ("2.15% (2025 est.)", "2.15%"),
        ("580,367 sq km", "580,367 sq km"),
        ("tea, coffee; rice", "tea, coffee"),
        ("(2023 est.) less than 1", ""),
        ("NA", ""),
        ("one two three four five six seven eight nine", ""),
    ],
)
def test_answer_is_the_leading_part_of_a_value(value: str, answer: str) -> None:
    assert Fact("Field", "", value).answer == answer


def test_no_place_is_in_two_parts() -> None:
    def entry(number: int) -> dict[str, object]:
        name = {"conventional short form": {"text": f"Place {number}"}}
        rates = {f"Rate {rate}": {"text": f"{number}.{rate}%"} for rate in range(5)}
        return {"Government": {"Country name": name}, "Economy": rates}

    parts = compose({f"here/{number}": entry(number) for number in range(100)})
    asked = {name: {question.text.partition(" of ")[2] for question in part} for name, part in parts.items()}
    assert {name: len(places) for name, places in asked.items()} == {
        "train": 20,
        "test": 40,
        "validation": 40,
    }
    assert len(set.union(*asked.values())) == 100
    for question in chain(*parts.values()):
        assert question.passage[question.start :].startswith(question.answer)


def test_questions_are_whole_and_each_is_asked_once(questions: factbook_questions.Questions) -> None:
    seen = set()
    parts = (
        (questions.train_inputs, questions.train_targets),
        (questions.validation_inputs, questions.validation_targets),
        (questions.test_inputs, questions.test_targets),
    )
    for tokens, answers in parts:
        assert (tokens[:, 0] == CLS).all()
        assert ((tokens == SEP).sum(axis=1) == 2).all()
        assert (tokens.shape[1], tokens.dtype.name) == (LENGTH, "int64")
        for row, (first, last, _) in zip(tokens.tolist(), answers.tolist(), strict=True):
            separator = row.index(SEP)
            assert separator < first <= last < row.index(SEP, separator + 1)
            assert last - first < LONGEST_ANSWER
            seen.add(tuple(row[:separator]))
    assert len(seen) == sum(len(tokens) for tokens, _ in parts)
    assert [len(tokens) for tokens, _ in parts] == [8_000, 600, 600]


def test_right_spans_score_one_and_other_spans_less(questions: factbook_questions.Questions) -> None:
    some = [part[:25] for part in (questions.test_targets, questions.validation_targets)]
    targets = torch.as_tensor(np.concatenate(some))
    outputs = torch.full((50, 2, LENGTH), MASKED).scatter(2, targets[:, :2].unsqueeze(2), 5.0)
    assert answer_quality(outputs, targets) == {"f1": 1.0, "exact_match": 1.0}
    assert answer_quality(outputs.flip(0), targets)["f1"] < 0.3


def test_trivial_answers_are_poor(questions: factbook_questions.Questions) -> None:
    baselines = FACTBOOK_BERT.baselines(FACTBOOK_BERT.data())
    assert all(0.0 < value < 0.4 for value in baselines.values())


def test_answers_are_compared_as_squad_does() -> None:
    assert normalized("The 2.15%, a Rate!") == ["215", "rate"]
    assert overlap("the Republic of Kenya", "Kenya") == pytest.approx(0.5)
    assert overlap("Nairobi", "nairobi.") == 1.0
    assert overlap("", "Kenya") == 0.0


def test_best_span_ends_after_its_start_and_is_short() -> None:
    outputs = torch.zeros(2, 2, LENGTH)
    outputs[0, 0, 9], outputs[0, 1, 3], outputs[0, 1, 11] = 5.0, 8.0, 4.0
    outputs[1, 0, 9], outputs[1, 1, 9 + LONGEST_ANSWER], outputs[1, 1, 9] = 5.0, 4.0, 1.0
    assert best_spans(outputs).tolist() == [[9, 11], [9, 9]]


def tokens_of(question: list[int], passage: list[int]) -> torch.Tensor:
    row = [CLS, *question, SEP, *passage, SEP]
    return torch.tensor([row + [0] * (LENGTH - len(row))])


def test_only_the_passage_can_answer_and_padding_changes_nothing() -> None:
    torch.manual_seed(0)
    model = reader(heads=2, layers=2).eval()
    batch = torch.cat([tokens_of([7, 8], [20, 21, 22]), tokens_of([7, 8, 9], list(range(200, 260)))])
    outputs = model(batch)
    assert outputs.shape == (2, 2, LENGTH)
    assert (outputs[0] != MASKED).nonzero()[:, 1].tolist() == [4, 5, 6] * 2
    short = model.bert(
        input_ids=batch[:1, :8], token_type_ids=torch.tensor([[0] * 4 + [1] * 4])
    ).last_hidden_state
    torch.testing.assert_close(outputs[0, :, 4:7], model.scores(short)[0, 4:7].T, rtol=1e-4, atol=1e-5)


def test_loss_falls_over_a_few_steps() -> None:
    torch.manual_seed(0)
    model = reader(heads=2, layers=1)
    batch = torch.cat([tokens_of([7 + k], list(range(50 + k, 90 + k))) for k in range(8)])
    targets = torch.tensor([[5 + k, 6 + k, 0] for k in range(8)])
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    losses = []
    for _ in range(20):
        optimizer.zero_grad()
        loss = span_loss(model(batch), targets)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 2


def test_model_exports_and_onnx_runtime_agrees(
    questions: factbook_questions.Questions, tmp_path: Path
) -> None:
    import onnxruntime

    torch.manual_seed(0)
    model = reader(heads=2, layers=1).eval()
    batch = torch.as_tensor(questions.test_inputs[:2])
    path = tmp_path / "model.onnx"
    torch.onnx.export(model, (batch,), path, dynamo=True, external_data=False, verbose=False)
    session = onnxruntime.InferenceSession(path)
    found = session.run(None, {session.get_inputs()[0].name: batch.numpy()})[0]
    expected = model(batch)
    assert (torch.as_tensor(found) - expected).abs().max() < 1e-4 * expected.abs().max()


def test_students_are_narrower() -> None:
    sizes = []
    for width in (0.25, 0.5):
        assert FACTBOOK_MINILM.student is not None
        sizes.append(sum(weights.numel() for weights in FACTBOOK_MINILM.student(width).parameters()))
    assert sizes[0] < sizes[1] < 22_700_000
