"""Generation as its users meet it: the wait for the first token of a text, and for each one after it.

The time of a whole text over its tokens is neither: it spreads the prompt's pass over all of them. The time
to the first token is a text's own, not divided by the texts beside it. The time per output token is that from
the first token of a text to its last over the tokens in between (Agrawal et al. 2024, "Metron"; MLPerf
Inference 5.0).
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import fmean
from typing import Any, Protocol

import torch

from bench.instruments import clock
from bench.instruments.differences import difference
from techniques.backends.text_engine import NewTokens, OwnTimes, TextEngine, TimesItself


class Generator(Protocol):
    """A language model that continues texts one token at a time, and keeps what it has read in a cache."""

    def prefill(self, tokens: torch.Tensor) -> tuple[torch.Tensor, Any]:
        """Read prompts (batch, time); return the logits of the next token (batch, symbols), and the cache."""
        ...

    def decode(self, token: torch.Tensor, cache: Any) -> tuple[torch.Tensor, Any]:
        """Read one more token of each text (batch, 1); return as `prefill`. The old cache is used up."""
        ...

    def cache_bytes(self, cache: Any) -> int:
        """Return the bytes of the cache's tensors."""
        ...


class Stepwise:
    """An engine of a generator: all texts get a token at a time, side by side."""

    def __init__(self, generator: Generator) -> None:
        self._generator = generator
        self._bytes_per_token: float | None = None

    def stream(self, prompts: torch.Tensor, tokens: int) -> Iterator[NewTokens]:
        """Continue prompts (texts, time) by so many tokens each; see `TextEngine`."""
        logits, cache = self._generator.prefill(prompts)
        for number in range(1, tokens + 1):
            chosen = logits.argmax(dim=-1, keepdim=True)
            yield chosen.tolist()
            if number < tokens:
                logits, cache = self._generator.decode(chosen, cache)
        # The last token was made and not yet read.
        read = len(prompts) * (prompts.shape[1] + tokens - 1)
        self._bytes_per_token = self._generator.cache_bytes(cache) / read

    @torch.inference_mode()
    def logits(self, texts: torch.Tensor, prompt: int) -> torch.Tensor:
        """Return logits of texts read with the cache; see `TextEngine`."""
        logits, cache = self._generator.prefill(texts[:, :prompt])
        found = [logits]
        for place in range(prompt, texts.shape[1]):
            logits, cache = self._generator.decode(texts[:, place : place + 1], cache)
            found.append(logits)
        return torch.stack(found, dim=1).float().cpu()

    def cache_bytes_per_token(self) -> float | None:
        """Return the bytes of the cache that `stream` left, for each token that was read; None before."""
        return self._bytes_per_token


@dataclass(frozen=True)
class Generated:
    """What batches of `texts` side by side took, one batch after another.

    For each batch, as means over its texts: `first_s` from the prompts to a text's first token, `per_token_s`
    from there to its last over the tokens in between; none where texts have one token. `gaps_s` are the waits
    for each step's tokens since those before. `elapsed_s` is all of it, `tokens` all new ones.
    `tokens_of_steps` are those that a text got in each step but its first and its last; `own` what the engine
    says of each batch.
    """

    texts: int
    first_s: tuple[float, ...]
    per_token_s: tuple[float, ...]
    gaps_s: tuple[float, ...]
    elapsed_s: float
    tokens: int
    tokens_of_steps: tuple[int, ...] = ()
    own: tuple[OwnTimes, ...] = ()

    @property
    def tokens_per_s(self) -> float:
        """Return the new tokens of all texts over the whole time, prompts' passes included."""
        return self.tokens / self.elapsed_s

    @property
    def batch_s(self) -> float:
        """Return the mean time of a batch."""
        return self.elapsed_s / len(self.first_s)


@dataclass(frozen=True)
class _Batch:
    """When each step of a batch ended, in seconds from its start, and the tokens that each text got in it."""

    ends_s: list[float] = field(default_factory=list)
    counts: list[tuple[int, ...]] = field(default_factory=list)

    def of_texts(self) -> list[list[tuple[float, int]]]:
        """Return the steps in which each text got tokens: when, and how many."""
        steps = list(zip(self.ends_s, self.counts, strict=True))
        texts = len(self.counts[0]) if self.counts else 0
        return [[(end_s, own[text]) for end_s, own in steps if own[text]] for text in range(texts)]


@torch.inference_mode()
def time_generation(engine: TextEngine, prompts: Sequence[torch.Tensor], tokens: int) -> Generated:
    """Time a continuation of each batch of prompts (texts, time); the first is made once before, untimed.

    `tokens` are made of each text. Raises ValueError where the engine makes fewer or more, and whatever it
    raises.
    """
    for _ in engine.stream(prompts[0], tokens):
        pass
    batches, own = [], []
    with clock.collector_off():
        for batch in prompts:
            batches.append(_timed(engine.stream(batch, tokens)))
            times = engine.own_times() if isinstance(engine, TimesItself) else None
            own += [times] if times else []
    return _generated(batches, len(prompts[0]), tokens, own)


def _timed(steps: Iterator[NewTokens]) -> _Batch:
    batch, now = _Batch(), time.perf_counter_ns
    began = now()
    for step in steps:
        batch.ends_s.append((now() - began) / 1e9)
        batch.counts.append(tuple(map(len, step)))
    return batch


def _generated(batches: Sequence[_Batch], texts: int, tokens: int, own: Sequence[OwnTimes]) -> Generated:
    first_s, per_token_s, gaps_s, of_steps = [], [], [], []
    for batch in batches:
        steps = batch.of_texts()
        for text in steps or [[]]:
            made = sum(count for _, count in text)
            if made != tokens:
                raise ValueError(f"the engine made {made} tokens of a text, {tokens} were asked for")
        first_s.append(fmean(text[0][0] for text in steps))
        after = [(text[-1][0] - text[0][0], tokens - text[0][1]) for text in steps]
        if all(count for _, count in after):
            per_token_s.append(fmean(seconds / count for seconds, count in after))
        waits: dict[float, list[float]] = {}
        for text in steps:
            for (before_s, _), (end_s, _) in pairwise(text):
                waits.setdefault(end_s, []).append(end_s - before_s)
        gaps_s += [fmean(found) for found in waits.values()]
        of_steps += [count for text in steps for _, count in text[1:-1]]
    return Generated(
        texts,
        tuple(first_s),
        tuple(per_token_s),
        tuple(gaps_s),
        sum(batch.ends_s[-1] for batch in batches),
        texts * tokens * len(batches),
        tuple(of_steps),
        tuple(own),
    )


@dataclass(frozen=True)
class Divergence:
    """How the tokens that one model makes likely differ from those of another, after the same texts.

    `nats` is the mean Kullback-Leibler divergence of the next token's distribution, from the other's to this
    one's; `agreement` the share of tokens of which both have the same likeliest one.
    """

    nats: float
    agreement: float


def divergence(expected: torch.Tensor, found: torch.Tensor) -> Divergence:
    """Hold logits (..., symbols) against those of a reference."""
    reference, own = expected.double().log_softmax(dim=-1), found.double().log_softmax(dim=-1)
    nats = (reference.exp() * (reference - own)).sum(dim=-1).mean().clamp(min=0)
    same = reference.argmax(dim=-1) == own.argmax(dim=-1)
    return Divergence(float(nats), float(same.double().mean()))


def logits_fault(found: torch.Tensor, expected: torch.Tensor, most_relative_error: float) -> str:
    """Say how logits with the cache differ from those of whole texts without, or return an empty text."""
    differs = difference(found.cpu(), expected.cpu())
    if differs.fault:
        return f"logits with the cache: {differs.fault}"
    if not differs.relative <= most_relative_error:
        return (
            f"relative error {differs.relative:.2g} of logits with the cache is over {most_relative_error:g}"
        )
    return ""


@torch.inference_mode()
def greedy_fault(engine: TextEngine, prompts: torch.Tensor, tokens: int, relative_error: float) -> str:
    """Say how many tokens an engine continues with are not the likeliest by its logits, or an empty text.

    `prompts` are (texts, time). Of tokens whose logits differ by less than so large a part of the largest,
    either is right.
    """
    made: list[list[int]] = [[] for _ in prompts]
    for step in engine.stream(prompts, tokens):
        for text, new in zip(made, step, strict=True):
            text += new
    chosen = torch.tensor(made)
    texts = torch.cat([prompts.cpu(), chosen[:, :-1]], dim=1)
    logits = engine.logits(texts.to(prompts.device), prompts.shape[1])
    lacking = logits.amax(dim=-1) - logits.gather(-1, chosen[..., None])[..., 0]
    wrong = int((lacking > relative_error * logits.abs().amax()).sum())
    return f"{wrong} of {chosen.numel()} greedy tokens are not the likeliest" if wrong else ""
