"""The workload of a language model: what it learns from, what judges it, and how it continues a text."""

from __future__ import annotations

import math

import pytest
import torch

from bench import datasets
from bench.errors import DataError
from bench.workloads import language_model
from bench.workloads.language_model import LENGTH, SHAKESPEARE_GPT2, SYMBOLS, CharacterGPT2
from bench.workloads.workload import Data
from tests.support.learning import losses_of

pytest.importorskip("transformers")


@pytest.fixture(scope="module")
def data() -> Data:
    try:
        datasets.fetch("shakespeare")
    except DataError as error:
        pytest.skip(f"needs the texts: {error}")
    return SHAKESPEARE_GPT2.data()


@pytest.fixture(scope="module")
def model() -> torch.nn.Module:
    torch.manual_seed(0)
    return CharacterGPT2().eval()


def test_text_comes_back_from_its_numbers() -> None:
    text = "".join(map(chr, range(32, 127))) + "\n"
    numbers = language_model.encode(text)
    assert language_model.decode(numbers) == text
    assert sorted(numbers.tolist()) == list(range(SYMBOLS))


def test_a_target_is_the_character_that_follows_and_no_window_spans_two_texts() -> None:
    texts = {"a": "a" * 300, "b": "b" * 300}
    inputs, targets = language_model.windows(texts, 4)
    assert [set(language_model.decode(row)) for row in torch.cat([inputs, targets], dim=1)] == [
        {"a"},
        {"a"},
        {"b"},
        {"b"},
    ]
    (row,), (target,) = language_model.windows({"c": "To be, or not to be: " * 10}, 1)
    assert torch.equal(row[1:], target[:-1])
    assert language_model.decode(target[-1:]) == ("To be, or not to be: " * 10)[LENGTH]


def test_no_test_window_is_in_the_training_texts(data: Data) -> None:
    train = "".join(datasets.load("shakespeare").train.values())
    assert len(data.test_inputs) == language_model.TEST_WINDOWS
    assert not any(language_model.decode(window) in train for window in data.test_inputs)


def test_likelihood_is_that_of_the_right_character() -> None:
    targets = torch.randint(SYMBOLS, (2, LENGTH), generator=torch.Generator().manual_seed(0))
    found = language_model.likelihood_and_accuracy(torch.zeros(2, LENGTH, SYMBOLS), targets)
    assert found["likelihood"] == pytest.approx(1 / SYMBOLS) and found["nats"] == pytest.approx(
        math.log(SYMBOLS)
    )
    certain = 100.0 * torch.nn.functional.one_hot(targets, SYMBOLS)
    found = language_model.likelihood_and_accuracy(certain, targets)
    assert found["likelihood"] == pytest.approx(1) and found["accuracy"] == 1


def test_two_characters_foretell_more_than_one(data: Data) -> None:
    found = language_model.character_frequencies(data)
    alone, after = found["character frequencies"], found["frequencies after a character"]
    assert 1 / SYMBOLS < alone < after < 0.15


def test_linear_layers_do_what_transformers_own_did() -> None:
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config(vocab_size=9, n_positions=8, n_embd=8, n_layer=2, n_head=2)
    decoder, tokens = GPT2LMHeadModel(config).eval(), torch.tensor([[1, 2, 3, 4]])
    with torch.no_grad():
        before = decoder(tokens).logits
        language_model._use_linear_layers(decoder)
        assert torch.allclose(decoder(tokens).logits, before, atol=1e-6)


def test_pruning_and_int8_find_nearly_all_of_the_weights(model: torch.nn.Module) -> None:
    linear = sum(m.weight.numel() for m in model.modules() if isinstance(m, torch.nn.Linear))
    assert linear > 0.95 * sum(parameter.numel() for parameter in model.parameters())


def test_a_character_is_told_by_those_before_it_alone(model: torch.nn.Module) -> None:
    tokens = torch.arange(LENGTH)[None] % SYMBOLS
    changed = tokens.clone()
    changed[0, 70:] = 5
    with torch.no_grad():
        assert torch.allclose(model(tokens)[:, :70], model(changed)[:, :70], atol=1e-5)


def test_it_can_be_exported(model: torch.nn.Module) -> None:
    batch = torch.arange(2 * LENGTH).view(2, LENGTH) % SYMBOLS
    exported = torch.export.export(model, (batch,)).module()
    with torch.no_grad():
        assert torch.allclose(exported(batch), model(batch), atol=1e-4)


def test_loss_falls_on_a_few_windows(data: Data) -> None:
    torch.manual_seed(0)
    few = data.train_inputs[:8], data.train_targets[:8]
    losses = losses_of(SHAKESPEARE_GPT2, CharacterGPT2(heads=2), *few, steps=12, rate=3e-3)
    assert losses[0] == pytest.approx(math.log(SYMBOLS), rel=0.05) and losses[-1] < 0.85 * losses[0]


def test_a_student_is_the_same_decoder_with_fewer_heads() -> None:
    assert SHAKESPEARE_GPT2.student is not None
    student = SHAKESPEARE_GPT2.student(0.5)
    assert student.decoder.config.n_embd == 96 and student.decoder.config.n_layer == 4
