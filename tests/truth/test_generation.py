"""Generation against a language model whose times, cache and faults are known; naive measures are wrong."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from bench.instruments import clock
from bench.instruments.generation import (
    cache_bytes_per_token,
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
    from bench.workloads.language_model import CachedDecoding

    layers, width, bytes_each = 4, 192, 4
    generator = CachedDecoding(gpt2)
    assert cache_bytes_per_token(generator, prompts, 9) == 2 * layers * width * bytes_each
    # Over the tokens that were made, the prompts' share would look like theirs.
    cache = [token.cache for token in continuation(generator, prompts, 9)][-1]
    assert generator.cache_bytes(cache) / (3 * 9) > 4 * 2 * layers * width * bytes_each


def test_a_sound_cache_has_no_fault_and_one_that_forgets_has(gpt2: Any, prompts: torch.Tensor) -> None:
    from bench.workloads.language_model import CachedDecoding

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
