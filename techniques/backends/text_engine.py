"""The interface of an engine that continues texts: what people serve language models with."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch

from techniques.backends.numerics import Numerics
from techniques.registry import CannotApply

NewTokens = Sequence[Sequence[int]]
"""The tokens that each text got in one step of an engine, none or several."""

DRAFTED = 4
"""Tokens that a draft model proposes before the large one checks them all at once."""


@dataclass(frozen=True)
class EngineOptions:
    """How an engine serves.

    `cache` is the format of its key-value cache, empty for the numbers that it computes in. `draft` is the
    folder of a lowered small model whose proposals the engine checks (Leviathan et al. 2023, "Fast Inference
    from Transformers via Speculative Decoding"). At most `most_texts` of `most_tokens` are served at a time.
    """

    cache: str = ""
    draft: Path | None = None
    most_texts: int = 8
    most_tokens: int = 256


@dataclass(frozen=True)
class OwnTimes:
    """What an engine's own clock says of the latest texts: means over them, as its metrics define them."""

    first_s: float
    per_token_s: float | None


class TextEngine(Protocol):
    """A language model that is loaded and ready to continue texts."""

    def stream(self, prompts: torch.Tensor, tokens: int) -> Iterator[NewTokens]:
        """Continue prompts (texts, time) by so many tokens each, the likeliest one at a time.

        Yields after each step of the engine what each text got in it. A first item that is asked for starts
        the work, and each token is on the CPU when it is yielded.
        """
        ...

    def logits(self, texts: torch.Tensor, prompt: int) -> torch.Tensor:
        """Read texts (texts, time) with the cache: the first `prompt` tokens at once, then one at a time.

        Returns the logits of the next token (texts, time - prompt + 1, symbols), fp32, on the CPU.
        """
        ...

    def cache_bytes_per_token(self) -> float | None:
        """Return the bytes that the cache keeps of one token of one text, None where unknown."""
        ...


@runtime_checkable
class Scores(Protocol):
    """An engine that says by itself how likely the tokens of a text are."""

    def log_probabilities(self, texts: torch.Tensor) -> torch.Tensor:
        """Return the logarithm of the probability of each token but the first, (texts, time - 1)."""
        ...


@runtime_checkable
class TimesItself(Protocol):
    """An engine that times itself."""

    def own_times(self) -> OwnTimes | None:
        """Return what its own clock says of the texts that `stream` continued last."""
        ...


@runtime_checkable
class ServesTexts(Protocol):
    """A backend with an engine of its own; raises CannotApply where it does not support an option."""

    def text_engine(
        self, folder: Path, numerics: Numerics, threads: int, options: EngineOptions
    ) -> TextEngine:
        """Read what `lower` wrote."""
        ...


def decoder_of(model: torch.nn.Module, engine: str) -> Any:
    """Return the causal language model of transformers in a model, its `decoder`.

    Raises CannotApply where there is none.
    """
    decoder = getattr(model, "decoder", None)
    if not hasattr(decoder, "config") or not hasattr(decoder, "lm_head"):
        raise CannotApply(f"{engine} serves a causal language model of transformers, the model's `decoder`")
    return decoder


def refuse_cache(cache: str, known: Sequence[str], engine: str) -> None:
    """Raise CannotApply where an engine has no key-value cache in a format."""
    if cache and cache not in known:
        offered = ", ".join(known) or "no format but its own"
        raise CannotApply(f"{engine} has no cache in {cache}; it has {offered}")
