"""Generation against a language model whose times, cache and faults are known; naive measures are wrong."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from bench.instruments import clock
from bench.instruments.generation import (
    cache_bytes_per_token,
    cache_divergence,
    cache_fault,
    continuation,
    time_generation,
)
from bench.stages.generate import timings

PROMPT_S, TOKEN_S, TOKENS = 0.5, 0.01, 11
PROMPTS = [torch.zeros(2, 16, dtype=torch.int64) for _ in range(6)]


class KnownTimes:
    """Reads prompts in half a second and a token in 10 ms, on a device that works on while nobody waits."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now_s = self.pending_s = 0.0
        monkeypatch.setattr(clock.time, "perf_counter_ns", lambda: round(1e9 * self.now_s))

    def prefill(self, tokens: torch.Tensor) -> tuple[torch.Tensor, Any]:
        self.pending_s += PROMPT_S
        return torch.zeros(len(tokens), 4), None

    def decode(self, token: torch.Tensor, cache: Any) -> tuple[torch.Tensor, Any]:
        self.pending_s += TOKEN_S
        return torch.zeros(len(token), 4), None

    def cache_bytes(self, cache: Any) -> int:
        return 0

    def synchronize(self) -> None:
        self.now_s += self.pending_s
        self.pending_s = 0.0


def test_the_first_token_takes_the_prompts_pass_and_each_next_one_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = KnownTimes(monkeypatch)
    found = time_generation(model, PROMPTS, TOKENS, model.synchronize)
    assert found.first_s == pytest.approx([PROMPT_S] * 6)
    assert found.gaps_s == pytest.approx([TOKEN_S] * 60)
    whole_s = 6 * (PROMPT_S + 10 * TOKEN_S)
    assert found.tokens_per_s == pytest.approx(2 * 6 * TOKENS / whole_s)


def test_a_texts_time_over_its_tokens_is_not_what_a_reader_waits_between_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = KnownTimes(monkeypatch)
    found = time_generation(model, PROMPTS, TOKENS, model.synchronize)
    naive = found.elapsed_s / (len(PROMPTS) * TOKENS)
    assert naive > 5 * TOKEN_S
    (between,) = (entry for entry in timings(found) if entry.metric == "inter_token_s")
    assert between.value == pytest.approx(TOKEN_S) and between.qualifier == "2"


def test_a_device_that_nobody_waits_for_seems_to_answer_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    model = KnownTimes(monkeypatch)
    assert time_generation(model, PROMPTS, TOKENS, lambda: None).first_s == (0.0,) * 6


def test_a_99th_percentile_needs_368_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    model = KnownTimes(monkeypatch)

    def p99(texts: int) -> Any:
        found = time_generation(model, PROMPTS[:1] * texts, TOKENS, model.synchronize)
        return next(entry for entry in timings(found) if entry.metric == "inter_token_p99_s")

    assert p99(37).value == pytest.approx(TOKEN_S)
    assert p99(36).value is None and p99(36).reason == "360 samples are too few for the 0.99 quantile"


@pytest.fixture(scope="module")
def gpt2() -> Any:
    pytest.importorskip("transformers")
    from bench.workloads.language_model import CharacterGPT2

    torch.manual_seed(0)
    return CharacterGPT2().eval()


@pytest.fixture(scope="module")
def prompts() -> torch.Tensor:
    return torch.randint(96, (3, 32), generator=torch.Generator().manual_seed(0))


def test_the_cache_keeps_keys_and_values_of_each_layer(gpt2: Any, prompts: torch.Tensor) -> None:
    from bench.workloads.cached_decoding import CachedDecoding

    layers, width, bytes_each = 4, 192, 4
    generator = CachedDecoding(gpt2)
    assert cache_bytes_per_token(generator, prompts, 9) == 2 * layers * width * bytes_each
    # Over the tokens that were made, the prompts' share would look like theirs.
    cache = [token.cache for token in continuation(generator, prompts, 9)][-1]
    assert generator.cache_bytes(cache) / (3 * 9) > 4 * 2 * layers * width * bytes_each


def test_a_sound_cache_has_no_fault_and_one_that_forgets_has(gpt2: Any, prompts: torch.Tensor) -> None:
    from bench.workloads.cached_decoding import CachedDecoding

    class Forgets(CachedDecoding):
        def decode(self, token: torch.Tensor, cache: Any) -> tuple[torch.Tensor, Any]:
            for layer in cache.layers:
                layer.keys, layer.values = layer.keys[:, :, 1:], layer.values[:, :, 1:]
            return super().decode(token, cache)

    assert cache_fault(CachedDecoding(gpt2), gpt2, prompts, 9, 1e-4) == ""
    assert "relative error" in cache_fault(Forgets(gpt2), gpt2, prompts, 9, 1e-4)


def test_another_greedy_token_is_a_fault_where_tokens_must_be_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = KnownTimes(monkeypatch)

    def nearly(texts: torch.Tensor) -> torch.Tensor:
        return torch.tensor([0.0, 1.0, 1.0 - 1e-5, 0.0]).expand(*texts.shape, 4)

    def tied(tokens: torch.Tensor) -> tuple[torch.Tensor, Any]:
        return torch.tensor([0.0, 1.0 - 1e-5, 1.0, 0.0]).expand(len(tokens), 4), None

    monkeypatch.setattr(model, "prefill", tied)
    fault = cache_fault(model, nearly, PROMPTS[0], 1, 1e-4)
    assert fault == "2 of 2 greedy tokens differ with the cache"
    assert cache_fault(model, nearly, PROMPTS[0], 1, 1e-4, same_tokens=False) == ""


def test_a_caches_divergence_is_that_of_the_next_tokens_distributions(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reference, other = KnownTimes(monkeypatch), KnownTimes(monkeypatch)
    likely = torch.tensor([0.5, 0.25, 0.125, 0.125])

    def even(tokens: torch.Tensor) -> tuple[torch.Tensor, Any]:
        return likely.log().expand(len(tokens), 4), None

    monkeypatch.setattr(reference, "prefill", even)
    same = cache_divergence(reference, reference, PROMPTS[0], 1)
    assert (same.nats, same.agreement) == (0, 1)
    found = cache_divergence(reference, other, PROMPTS[0], 1)  # of which all four are as likely
    assert found.nats == pytest.approx(float((likely * (likely * 4).log()).sum()), rel=1e-6)


def test_both_caches_read_the_same_text(gpt2: Any, prompts: torch.Tensor) -> None:
    from bench.workloads.cached_decoding import CachedDecoding

    read: list[torch.Tensor] = []

    class Remembers(CachedDecoding):
        def decode(self, token: torch.Tensor, cache: Any) -> tuple[torch.Tensor, Any]:
            logits, cache = super().decode(token, cache)
            read.append(token)
            return -logits, cache  # of itself it would say something else

    own = torch.cat([token.chosen for token in continuation(CachedDecoding(gpt2), prompts, 5)], dim=1)
    found = cache_divergence(CachedDecoding(gpt2), Remembers(gpt2), prompts, 5)
    assert torch.equal(torch.cat(read[1:], dim=1), own[:, :-1])
    assert found.nats > 0 and found.agreement < 1


def test_a_cache_in_int8_is_off_by_half_a_step_at_most(gpt2: Any, prompts: torch.Tensor) -> None:
    from bench.workloads.cached_decoding import CachedDecoding, Int8CachedDecoding
    from bench.workloads.int8_cache import rounded

    states = torch.randn(2, 3, 5, 8, generator=torch.Generator().manual_seed(0))
    numbers, scales = rounded(states)
    assert numbers.dtype == torch.int8 and scales.shape == (2, 3, 5, 1)
    assert ((numbers * scales - states).abs() <= 0.5001 * scales).all()
    layers, width, heads = 4, 192, 6
    assert cache_bytes_per_token(Int8CachedDecoding(gpt2), prompts, 9) == 2 * layers * (width + 4 * heads)
    found = cache_divergence(CachedDecoding(gpt2), Int8CachedDecoding(gpt2), prompts, 9)
    assert 0 < found.nats < 1e-3
    assert cache_fault(Int8CachedDecoding(gpt2), gpt2, prompts, 9, 0.05, same_tokens=False) == ""
