"""Engines that people serve with continue texts as eager PyTorch does, with caches and drafts."""

from __future__ import annotations

import copy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

pytest.importorskip("transformers")

from bench.instruments.generation import divergence, time_generation
from techniques.backends import BACKENDS
from techniques.backends.cached_decoder import cache_shapes
from techniques.backends.protocol import Numerics
from techniques.backends.text_engine import DRAFTED, EngineOptions, Scores, TimesItself
from techniques.registry import CannotApply
from tests.support.tiny_decoder import (
    FP32,
    NEW,
    OPTIONS,
    PROMPT,
    TinyDecoder,
    assert_continues,
    continued,
    some_texts,
    tiny_decoder,
)

ENGINES = [
    pytest.param(
        name,
        marks=[
            pytest.mark.slow,
            pytest.mark.skipif(BACKENDS.get(name).unavailable() is not None, reason="not installed"),
        ],
    )
    for name in ("openvino-genai", "onnxruntime-genai")
]


@pytest.fixture(scope="module")
def model() -> TinyDecoder:
    return tiny_decoder()


@pytest.fixture(scope="module")
def texts() -> torch.Tensor:
    return some_texts()


@pytest.fixture(scope="module")
def lowered(model: TinyDecoder, tmp_path_factory: pytest.TempPathFactory) -> Any:
    made: dict[str, Path] = {}

    def lower(name: str) -> tuple[Any, Path]:
        backend = BACKENDS.parse(name).create()
        if name not in made:
            made[name] = tmp_path_factory.mktemp(name)
            backend.lower(model, torch.zeros(1, 8, dtype=torch.int64), FP32, (), made[name])
        return backend, made[name]

    return lower


@pytest.mark.parametrize("name", ENGINES)
def test_an_engine_continues_texts_with_eager_pytorchs_tokens_and_logits(name, model, texts, lowered):
    backend, folder = lowered(name)
    assert_continues(backend, folder, model, texts)


@pytest.mark.parametrize("name", ENGINES)
def test_an_engine_is_timed_and_sees_its_first_token_no_later_than_whoever_waits_for_it(name, texts, lowered):
    backend, folder = lowered(name)
    engine = backend.text_engine(folder, FP32, 1, OPTIONS)
    found = time_generation(engine, [texts[:, :PROMPT]] * 6, NEW)
    assert found.tokens == 6 * 3 * NEW and len(found.gaps_s) == 6 * (NEW - 1)
    assert min(found.first_s) > 0 and min(found.per_token_s) > 0
    assert len(found.own) == (6 if isinstance(engine, TimesItself) else 0)
    # Its clock starts once it has a request and stops once it has the token: both within ours.
    for ours_s, own in zip(found.first_s, found.own, strict=False):
        assert 0 < own.first_s <= ours_s and own.per_token_s > 0


@pytest.mark.parametrize("name", ENGINES)
def test_what_an_engine_does_not_support_is_refused(name, lowered):
    backend, folder = lowered(name)
    with pytest.raises(CannotApply, match="has no cache in nf4"):
        backend.text_engine(folder, FP32, 1, EngineOptions(cache="nf4"))
    with pytest.raises(CannotApply, match="a causal language model of transformers"):
        backend.lower(torch.nn.Linear(2, 2), torch.zeros(1, 2), FP32, (), folder)


@pytest.mark.parametrize("name", ENGINES[:1])
def test_openvinos_pipeline_scores_texts_with_a_cache_in_int8(name, model, texts, lowered):
    backend, folder = lowered(name)
    with torch.no_grad():
        whole = model(texts)
    right = whole.log_softmax(-1)[:, :-1].gather(2, texts[:, 1:, None])[..., 0]
    own, int8 = (
        backend.text_engine(folder, FP32, 1, EngineOptions(cache, most_texts=3, most_tokens=64))
        for cache in ("", "int8")
    )
    assert isinstance(own, Scores)
    torch.testing.assert_close(own.log_probabilities(texts), right, rtol=1e-4, atol=1e-4)
    far = (int8.log_probabilities(texts) - right).abs().max()
    assert 1e-5 < far < 0.1
    assert int8.cache_bytes_per_token() < own.cache_bytes_per_token() / 2
    assert 0 < divergence(whole[:, PROMPT - 1 :], int8.logits(texts, PROMPT)).nats < 1e-2


@pytest.mark.parametrize("name", ENGINES[:1])
def test_weights_in_int8_are_served_but_those_of_layers_that_are_kept(name, model, texts, tmp_path):
    backend, sizes = BACKENDS.parse(name).create(), {}
    for kept in ((), ("decoder.lm_head",)):
        numerics, folder = Numerics("int8-weight", "fp32", kept=kept), tmp_path / f"kept{len(kept)}"
        folder.mkdir()
        backend.lower(copy.deepcopy(model), torch.zeros(1, 8, dtype=torch.int64), numerics, (), folder)
        engine = backend.text_engine(folder, numerics, 1, OPTIONS)
        sizes[len(kept)] = (folder / "openvino_model.bin").stat().st_size
        found = engine.logits(texts, PROMPT)
        with torch.no_grad():
            expected = model(texts)[:, PROMPT - 1 :]
        assert 0 < divergence(expected, found).nats < 1e-2
        assert continued(engine, texts[:, :PROMPT], NEW).shape == (3, NEW)
    assert sizes[1] > sizes[0] + 96 * 1024 * 2.5


@pytest.mark.parametrize("name", ENGINES[:1])
def test_a_draft_proposes_tokens_and_the_texts_stay_the_same(name, texts, lowered, tmp_path):
    backend, folder = lowered(name)
    small = tiny_decoder(1, heads=1)
    backend.lower(small, torch.zeros(1, 8, dtype=torch.int64), FP32, (), tmp_path)
    prompts, plain = texts[:, :PROMPT], backend.text_engine(folder, FP32, 1, OPTIONS)
    expected = continued(plain, prompts, NEW)
    itself, other = (
        backend.text_engine(folder, FP32, 1, EngineOptions("", draft, 3, 64)) for draft in (folder, tmp_path)
    )
    assert torch.equal(continued(itself, prompts, NEW), expected)
    assert torch.equal(continued(other, prompts, NEW), expected)
    steps = list(itself.stream(prompts, NEW))
    assert len(steps) < NEW and max(len(new) for new in steps[1]) > 1  # it takes all of its own proposals


def test_what_vllm_reads_is_the_same_decoder(model, texts, tmp_path):
    from transformers import AutoModelForCausalLM

    from techniques.backends.vllm_engine import save_decoder

    with torch.no_grad():
        expected = model(texts)
        save_decoder(model, FP32, tmp_path)
        found = AutoModelForCausalLM.from_pretrained(tmp_path).eval()(texts).logits
    torch.testing.assert_close(found, expected)
    with pytest.raises(CannotApply, match="a causal language model of transformers"):
        save_decoder(torch.nn.Linear(2, 2), FP32, tmp_path)


def test_what_vllm_says_of_every_symbol_becomes_logits_and_one_that_it_leaves_out_is_no_zero():
    from techniques.backends.vllm_engine import as_rows

    scored = [
        {2: SimpleNamespace(logprob=-1.0), 0: SimpleNamespace(logprob=0.5), 1: SimpleNamespace(logprob=3.0)},
        {0: SimpleNamespace(logprob=7.0), 1: SimpleNamespace(logprob=8.0), 2: SimpleNamespace(logprob=9.0)},
    ]
    assert as_rows(scored, 3).tolist() == [[0.5, 3.0, -1.0], [7.0, 8.0, 9.0]]
    with pytest.raises(ValueError, match="scored 6 of 8 symbols"):
        as_rows(scored, 4)


@pytest.mark.skipif(BACKENDS.get("vllm").unavailable() is not None, reason="vLLM is not installed, or no GPU")
@pytest.mark.slow
def test_vllms_own_logits_and_tokens_are_eager_pytorchs_and_those_with_fp8_are_not(model, texts, tmp_path):
    backend = BACKENDS.parse("vllm").create()
    backend.lower(model, torch.zeros(1, 8, dtype=torch.int64), FP32, (), tmp_path)
    assert_continues(backend, tmp_path, model, texts)
    with torch.no_grad():
        whole = model(texts)[:, PROMPT - 1 :]
    fp8 = backend.text_engine(tmp_path, FP32, 1, EngineOptions("fp8", most_texts=3, most_tokens=64))
    assert 0 < divergence(whole, fp8.logits(texts, PROMPT)).nats < 0.1


@pytest.mark.skipif(BACKENDS.get("vllm").unavailable() is not None, reason="vLLM is not installed, or no GPU")
@pytest.mark.slow
def test_a_draft_of_vllms_proposes_tokens_and_the_texts_stay_the_same(model, texts, tmp_path):
    backend, places = BACKENDS.parse("vllm").create(), [tmp_path / name for name in ("own", "small")]
    for place, decoder in zip(places, (model, tiny_decoder(1, heads=1)), strict=True):
        place.mkdir()
        backend.lower(decoder, torch.zeros(1, 8, dtype=torch.int64), FP32, (), place)
    prompts = texts[:, :PROMPT]
    expected = continued(backend.text_engine(places[0], FP32, 1, OPTIONS), prompts, NEW)
    for draft in places:
        engine = backend.text_engine(places[0], FP32, 1, EngineOptions("", draft, 3, 64))
        assert torch.equal(continued(engine, prompts, NEW), expected)
        if draft == places[0]:
            steps = list(engine.stream(prompts, NEW))
            assert len(steps) < NEW and max(len(new) for new in steps[1]) > 1


def test_vllms_draft_has_room_for_what_it_proposes_after_the_last_token_and_the_models_symbols(
    model, tmp_path
):
    from transformers import LlamaConfig

    from techniques.backends.vllm_engine import drafting, save_decoder

    save_decoder(model, FP32, tmp_path)
    window = model.decoder.config.max_position_embeddings
    found = drafting(model.decoder.config, tmp_path, window + 1)
    places = LlamaConfig.from_pretrained(tmp_path).max_position_embeddings
    assert found["max_model_len"] == window + 1 + DRAFTED <= places
    assert found["speculative_config"] == {
        "method": "draft_model",
        "model": str(tmp_path),
        "num_speculative_tokens": DRAFTED,
    }
    with pytest.raises(CannotApply, match="a draft with the model's 5 symbols, not with 1024"):
        drafting(LlamaConfig(vocab_size=5), tmp_path, 64)


def test_vllm_is_not_here_without_a_gpu():
    reason = BACKENDS.get("vllm").unavailable()
    if not torch.cuda.is_available():
        assert reason is not None and "NVIDIA GPU" in reason


def test_a_decoder_tells_what_it_keeps_of_each_layer(model):
    assert cache_shapes(model.decoder) == [(1, 32), (1, 32)]
    shortened = tiny_decoder()
    del shortened.decoder.model.layers[1]
    with pytest.raises(CannotApply, match="keeps keys of 1 of its 2 layers"):
        cache_shapes(shortened.decoder)
