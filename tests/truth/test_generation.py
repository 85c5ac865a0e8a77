"""Generation against engines whose times, cache and faults are known; naive measures are wrong."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pytest
import torch

from bench.analysis.generation import GenerationPoint, acceptance, decode_share, points_of, read_point
from bench.instruments.generation import (
    Generated,
    Stepwise,
    divergence,
    greedy_fault,
    logits_fault,
    time_generation,
)
from bench.stages.generated import timings
from techniques.backends.text_engine import OwnTimes

PROMPT_S, TOKEN_S, TOKENS = 0.5, 0.01, 11
PROMPTS = [torch.zeros(2, 16, dtype=torch.int64) for _ in range(6)]
POINT = GenerationPoint(2, 16, TOKENS)


class Clock:
    """A clock that moves only when an engine works."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now_s = 0.0
        monkeypatch.setattr("time.perf_counter_ns", lambda: round(1e9 * self.now_s))


class KnownTimes:
    """Reads prompts in half a second and a token in 10 ms."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock

    def prefill(self, tokens: torch.Tensor) -> tuple[torch.Tensor, Any]:
        self.clock.now_s += PROMPT_S
        return torch.zeros(len(tokens), 4), None

    def decode(self, token: torch.Tensor, cache: Any) -> tuple[torch.Tensor, Any]:
        self.clock.now_s += TOKEN_S
        return torch.zeros(len(token), 4), None

    def cache_bytes(self, cache: Any) -> int:
        return 0


class Scheduled:
    """An engine whose steps take known seconds and give each text known numbers of tokens."""

    def __init__(self, clock: Clock, steps: Sequence[tuple[float, Sequence[int]]]) -> None:
        self.clock, self.steps = clock, steps

    def stream(self, prompts: torch.Tensor, tokens: int) -> Iterator[list[list[int]]]:
        for seconds, counts in self.steps:
            self.clock.now_s += seconds
            yield [[0] * count for count in counts]

    def logits(self, texts: torch.Tensor, prompt: int) -> torch.Tensor:
        return torch.zeros(*texts[:, prompt - 1 :].shape, 4)

    def cache_bytes_per_token(self) -> float | None:
        return None

    def own_times(self) -> OwnTimes | None:
        return OwnTimes(0.4, 0.02)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def of(found: Generated, metric: str, point: GenerationPoint = POINT) -> Any:
    (entry,) = (entry for entry in timings(found, point) if entry.metric == metric)
    return entry


def test_the_first_token_takes_the_prompts_pass_and_each_next_one_its_own(clock: Clock) -> None:
    found = time_generation(Stepwise(KnownTimes(clock)), PROMPTS, TOKENS)
    assert found.first_s == pytest.approx([PROMPT_S] * 6)  # of two texts: not divided by them
    assert found.per_token_s == pytest.approx([TOKEN_S] * 6)
    assert found.gaps_s == pytest.approx([TOKEN_S] * 60)
    whole_s = 6 * (PROMPT_S + 10 * TOKEN_S)
    assert found.tokens_per_s == pytest.approx(2 * 6 * TOKENS / whole_s)
    assert found.batch_s == pytest.approx(whole_s / 6)


def test_a_texts_time_over_its_tokens_is_not_what_a_reader_waits_between_them(clock: Clock) -> None:
    found = time_generation(Stepwise(KnownTimes(clock)), PROMPTS, TOKENS)
    naive = found.elapsed_s / (len(PROMPTS) * TOKENS)
    assert naive > 5 * TOKEN_S
    between = of(found, "tpot_s")
    assert between.value == pytest.approx(TOKEN_S) and between.qualifier == "2 prompt=16 new=11"


def test_each_texts_wait_is_its_own_where_an_engine_reads_prompts_one_after_another(clock: Clock) -> None:
    # The second text has its first token a step later, and ends a step later.
    steps = [(0.3, (1, 0)), (0.2, (1, 1)), (0.1, (1, 1)), (0.1, (0, 1))]
    found = time_generation(Scheduled(clock, steps), PROMPTS[:1], 3)
    assert found.first_s == pytest.approx([(0.3 + 0.5) / 2])
    assert found.per_token_s == pytest.approx([((0.2 + 0.1) / 2 + (0.1 + 0.1) / 2) / 2])
    assert found.elapsed_s == pytest.approx(0.7)


def test_tokens_that_come_several_at_a_time_are_each_counted(clock: Clock) -> None:
    """A draft's kept tokens come in bursts: the wait between steps is not the time of a token."""
    steps = [(0.5, (1, 1)), (0.1, (5, 3)), (0.1, (2, 5)), (0.1, (3, 2))]
    found = time_generation(Scheduled(clock, steps), PROMPTS[:1], 11)
    assert found.per_token_s == pytest.approx([0.3 / 10])
    assert found.gaps_s == pytest.approx([0.1] * 3)
    assert sorted(found.tokens_of_steps) == [2, 3, 5, 5]
    kept = of(found, "draft_acceptance", GenerationPoint(2, 16, 11, draft="small"))
    assert kept.value == pytest.approx((1 + 0.5 + 0.25 + 1) / 4)
    assert acceptance([], 4) is None


def test_a_text_of_one_token_has_no_time_per_output_token(clock: Clock) -> None:
    found = time_generation(Scheduled(clock, [(0.5, (1, 1))]), PROMPTS, 1)
    entry = of(found, "tpot_s")
    assert entry.value is None and entry.reason == "no token follows the first step's"


def test_an_engine_that_makes_fewer_tokens_is_refused(clock: Clock) -> None:
    with pytest.raises(ValueError, match="made 1 tokens of a text, 2 were asked for"):
        time_generation(Scheduled(clock, [(0.5, (1, 1)), (0.1, (1, 0))]), PROMPTS, 2)


def test_what_the_engine_says_itself_stands_beside(clock: Clock) -> None:
    found = time_generation(Scheduled(clock, [(0.5, (1, 1)), (0.01, (1, 1))]), PROMPTS, 2)
    assert of(found, "engine_ttft_s").value == 0.4 and of(found, "engine_tpot_s").value == 0.02


def test_a_99th_percentile_needs_368_tokens(clock: Clock) -> None:
    def p99(texts: int) -> Any:
        found = time_generation(Stepwise(KnownTimes(clock)), PROMPTS[:1] * texts, TOKENS)
        return of(found, "inter_token_p99_s")

    assert p99(37).value == pytest.approx(TOKEN_S)
    assert p99(36).value is None and p99(36).reason == "360 samples are too few for the 0.99 quantile"


def test_a_points_qualifier_is_read_as_it_was_written() -> None:
    points = points_of([(64, 32), (16, 8)], [1, 8], "int8", "small")
    assert len(points) == 4
    assert points[1].qualifier == "8 int8 prompt=64 new=32 draft=small"
    for point in [*points, GenerationPoint(4), POINT]:
        assert read_point(point.qualifier) == point


def test_reading_the_weights_once_takes_its_share_of_a_tokens_time() -> None:
    assert decode_share(1e9, 20e9, 0.1) == pytest.approx(0.5)


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
    engine = Stepwise(CachedDecoding(gpt2))
    assert engine.cache_bytes_per_token() is None
    list(engine.stream(prompts, 9))
    assert engine.cache_bytes_per_token() == 2 * layers * width * bytes_each


def test_a_sound_cache_has_no_fault_and_one_that_forgets_has(gpt2: Any, prompts: torch.Tensor) -> None:
    from bench.workloads.cached_decoding import CachedDecoding

    class Forgets(CachedDecoding):
        def decode(self, token: torch.Tensor, cache: Any) -> tuple[torch.Tensor, Any]:
            for layer in cache.layers:
                layer.keys, layer.values = layer.keys[:, :, 1:], layer.values[:, :, 1:]
            return super().decode(token, cache)

    whole = gpt2(prompts)[:, 8:]
    sound, forgets = Stepwise(CachedDecoding(gpt2)), Stepwise(Forgets(gpt2))
    assert logits_fault(sound.logits(prompts, 9), whole, 1e-4) == ""
    assert "relative error" in logits_fault(forgets.logits(prompts, 9), whole, 1e-4)
    assert greedy_fault(sound, prompts, 9, 1e-4) == ""


def test_an_engine_that_continues_with_other_tokens_than_its_likeliest_is_at_fault(clock: Clock) -> None:
    class Ranks(Scheduled):
        best = 2.0

        def logits(self, texts: torch.Tensor, prompt: int) -> torch.Tensor:
            return torch.tensor([1.0, self.best, 0.0, -1.0]).expand(*texts[:, prompt - 1 :].shape, 4)

    engine = Ranks(clock, [(0.1, (1, 1)), (0.1, (1, 1))])
    assert greedy_fault(engine, PROMPTS[0], 2, 1e-4) == "4 of 4 greedy tokens are not the likeliest"
    engine.best = 1 + 1e-5  # either is right where two tie
    assert greedy_fault(engine, PROMPTS[0], 2, 1e-4) == ""


def test_a_divergence_is_that_of_the_next_tokens_distributions() -> None:
    likely = torch.tensor([0.5, 0.25, 0.125, 0.125])
    reference, even = likely.log().expand(2, 3, 4), torch.zeros(2, 3, 4)
    same = divergence(reference, reference + 7)
    assert (same.nats, same.agreement) == (pytest.approx(0, abs=1e-9), 1)
    found = divergence(reference, even)
    assert found.nats == pytest.approx(float((likely * (likely * 4).log()).sum()), rel=1e-6)
    assert divergence(reference, -reference).agreement == 0


def test_a_cache_in_int8_is_off_by_half_a_step_at_most(gpt2: Any, prompts: torch.Tensor) -> None:
    from bench.workloads.cached_decoding import CachedDecoding, Int8CachedDecoding
    from bench.workloads.int8_cache import rounded

    states = torch.randn(2, 3, 5, 8, generator=torch.Generator().manual_seed(0))
    numbers, scales = rounded(states)
    assert numbers.dtype == torch.int8 and scales.shape == (2, 3, 5, 1)
    assert ((numbers * scales - states).abs() <= 0.5001 * scales).all()
    layers, width, heads = 4, 192, 6
    engine = Stepwise(Int8CachedDecoding(gpt2))
    list(engine.stream(prompts, 9))
    assert engine.cache_bytes_per_token() == 2 * layers * (width + 4 * heads)
    found = divergence(Stepwise(CachedDecoding(gpt2)).logits(prompts, 9), engine.logits(prompts, 9))
    assert 0 < found.nats < 1e-3
