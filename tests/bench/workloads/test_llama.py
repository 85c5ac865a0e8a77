"""The Llama-style workloads: tokens of whole plays, a decoder with grouped queries, its cache."""

from __future__ import annotations

import math

import pytest
import torch

pytest.importorskip("transformers")
pytest.importorskip("tokenizers")

from bench import datasets
from bench.errors import DataError
from bench.instruments.generation import Stepwise
from bench.workloads import WORKLOADS
from bench.workloads.cached_decoding import CachedDecoding
from bench.workloads.llama import SHAKESPEARE_LLAMA, LlamaDecoder, plays
from bench.workloads.shakespeare_tokens import (
    HELD_OUT_WINDOWS,
    LENGTH,
    VOCABULARY,
    learn_tokenizer,
    token_windows,
    tokenizer,
)

LINES = "Now is the winter of our discontent\nMade glorious summer by this sun of York;\n"


@pytest.fixture(scope="module")
def data():
    try:
        datasets.fetch("shakespeare")
    except DataError as error:
        pytest.skip(f"needs the texts: {error}")
    return SHAKESPEARE_LLAMA.data()


def test_windows_are_of_one_text_each_and_targets_one_token_on():
    texts = {"one": LINES * 200, "two": LINES * 100, "short": LINES}
    learned = learn_tokenizer(list(texts.values()), 300)
    inputs, targets, sources = token_windows(learned, texts)
    assert inputs.shape == targets.shape == (len(sources), LENGTH)
    assert (inputs[:, 1:] == targets[:, :-1]).all() and 0 not in inputs
    assert sorted(set(sources.tolist())) == [0, 1]  # a text shorter than a window has none
    assert learned.decode(inputs[0].tolist()) == (LINES * 200)[: len(learned.decode(inputs[0].tolist()))]
    chosen, _, _ = token_windows(learned, texts, 2)
    assert (chosen == inputs[[0, -1]]).all()


def test_held_out_plays_give_windows_of_tokens_that_training_texts_taught(data):
    assert data.test_inputs.shape == data.validation.inputs.shape == (HELD_OUT_WINDOWS, LENGTH)
    assert int(data.train_inputs.max()) < VOCABULARY and not (data.train_inputs == 0).any()
    assert set(plays(data)["play"]) == {"john", "macbeth", "tempest", "twelfth_night"}
    assert tokenizer().decode(data.test_inputs[0][:8].tolist()).startswith("PERSONS")
    (likelihood,) = SHAKESPEARE_LLAMA.baselines(data).values()
    assert 1 / VOCABULARY < likelihood < WORKLOADS.get("shakespeare-llama").target


def test_the_decoder_shares_keys_among_queries_and_reads_no_later_token():
    torch.manual_seed(0)
    model = LlamaDecoder(heads=6, layers=2).eval()
    attention = model.decoder.model.layers[0].self_attn
    assert attention.q_proj.out_features == 3 * attention.k_proj.out_features
    texts = torch.randint(1, VOCABULARY, (2, 12))
    with torch.no_grad():
        whole, begun = model(texts), model(texts[:, :8])
    torch.testing.assert_close(whole[:, :8], begun, rtol=1e-4, atol=1e-5)
    assert math.exp(-SHAKESPEARE_LLAMA.quality(whole, texts)["nats"]) < 0.01
    with torch.no_grad():
        cached = Stepwise(CachedDecoding(model)).logits(texts, 5)
    torch.testing.assert_close(cached, whole[:, 4:], rtol=1e-4, atol=1e-5)


def test_students_are_narrower_or_shallower():
    narrow, shallow = SHAKESPEARE_LLAMA.student(0.5), SHAKESPEARE_LLAMA.shallow_student(0.5)
    assert narrow.decoder.config.hidden_size == 96 and narrow.decoder.config.num_key_value_heads == 1
    assert shallow.decoder.config.num_hidden_layers == 2
