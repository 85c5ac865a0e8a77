"""Generation as its users meet it: the wait for the first token of a text, and for each one after it.

The time of a whole text over its tokens is neither: it spreads the prompt's pass over all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Protocol

import torch

from bench.instruments import clock
from bench.instruments.differences import difference


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


@dataclass(frozen=True)
class Token:
    """One greedy token of each sequence, (batch, 1), its logits (batch, symbols), and the cache before it."""

    chosen: torch.Tensor
    logits: torch.Tensor
    cache: Any


@dataclass(frozen=True)
class Generated:
    """Seconds that texts took, one after another, each a batch of `sequences` side by side.

    `first_s` are from prompts to first tokens, one for each text; `gaps_s` from each token to the next;
    `elapsed_s` is all of it.
    """

    sequences: int
    first_s: tuple[float, ...]
    gaps_s: tuple[float, ...]
    elapsed_s: float

    @property
    def tokens_per_s(self) -> float:
        """Return the new tokens of all sequences over the whole time, prompts' passes included."""
        return self.sequences * (len(self.first_s) + len(self.gaps_s)) / self.elapsed_s


def continuation(generator: Generator, prompts: torch.Tensor, tokens: int) -> Iterator[Token]:
    """Continue prompts (batch, time) by as many tokens, each made only when it is asked for."""
    logits, cache = generator.prefill(prompts)
    for number in range(1, tokens + 1):
        chosen = logits.argmax(dim=-1, keepdim=True)
        yield Token(chosen, logits, cache)
        if number < tokens:
            logits, cache = generator.decode(chosen, cache)


@torch.inference_mode()
def time_generation(
    generator: Generator, prompts: Sequence[torch.Tensor], tokens: int, synchronize: Callable[[], None]
) -> Generated:
    """Time a text for each batch of prompts (sequences, time); the first is made once before, untimed.

    `tokens` are made of each, the likeliest one at a time. Raises whatever the generator raises.
    """
    for _ in continuation(generator, prompts[0], tokens):
        synchronize()
    texts = chain.from_iterable(continuation(generator, batch, tokens) for batch in prompts)
    steps = tokens * len(prompts)
    samples = clock.sample(texts.__next__, synchronize, seconds=0.0, least=steps, most=steps)
    durations_s = samples.durations_s
    gaps_s = tuple(seconds for number, seconds in enumerate(durations_s) if number % tokens)
    return Generated(len(prompts[0]), durations_s[::tokens], gaps_s, samples.elapsed_s)


@torch.inference_mode()
def cache_bytes_per_token(generator: Generator, prompts: torch.Tensor, tokens: int) -> float:
    """Return the bytes that the cache keeps of one token of one sequence, counted from its tensors.

    `prompts` are (sequences, time).
    """
    cache = [token.cache for token in continuation(generator, prompts, tokens)][-1]
    # The last token was made and not yet read.
    return generator.cache_bytes(cache) / (len(prompts) * (prompts.shape[1] + tokens - 1))


@dataclass(frozen=True)
class Divergence:
    """How the tokens that one cache makes likely differ from those of another, after the same texts.

    `nats` is the mean Kullback-Leibler divergence of the next token's distribution, from the other cache's to
    this one's; `agreement` the share of tokens of which both have the same likeliest one.
    """

    nats: float
    agreement: float


@torch.inference_mode()
def cache_divergence(
    reference: Generator, other: Generator, prompts: torch.Tensor, tokens: int
) -> Divergence:
    """Hold a cache against a reference's, on the reference's continuation of prompts (batch, time)."""
    made = list(continuation(reference, prompts, tokens))
    logits, cache = other.prefill(prompts)
    found = [logits]
    for token in made[:-1]:
        logits, cache = other.decode(token.chosen, cache)
        found.append(logits)
    expected = torch.stack([token.logits for token in made]).double().log_softmax(dim=-1)
    got = torch.stack(found).double().log_softmax(dim=-1)
    nats = (expected.exp() * (expected - got)).sum(dim=-1).mean().clamp(min=0)
    same = expected.argmax(dim=-1) == got.argmax(dim=-1)
    return Divergence(float(nats), float(same.double().mean()))


@torch.inference_mode()
def cache_fault(
    generator: Generator,
    without_cache: Callable[[torch.Tensor], torch.Tensor],
    prompts: torch.Tensor,
    tokens: int,
    most_relative_error: float,
    *,
    same_tokens: bool = True,
) -> str:
    """Say how generation with the cache differs from that without, or return an empty text.

    `without_cache` gives the logits (batch, time, symbols) of whole texts (batch, time).
    """
    made = list(continuation(generator, prompts, tokens))
    logits = torch.stack([token.logits for token in made], dim=1)
    chosen = torch.cat([token.chosen for token in made], dim=1)
    texts = torch.cat([prompts, chosen[:, :-1]], dim=1)
    whole = without_cache(texts)[:, prompts.shape[1] - 1 :]
    found = difference(logits.cpu(), whole.cpu())
    if found.fault:
        return f"logits with the cache: {found.fault}"
    if not found.relative <= most_relative_error:
        return f"relative error {found.relative:.2g} of logits with the cache is over {most_relative_error:g}"
    differ = int((whole.argmax(dim=-1) != chosen).sum())
    if same_tokens and differ:
        return f"{differ} of {chosen.numel()} greedy tokens differ with the cache"
    return ""
