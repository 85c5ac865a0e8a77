"""What is told apart in a measurement of text generation: lengths, texts side by side, cache and draft."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from statistics import fmean


@dataclass(frozen=True, order=True)
class GenerationPoint:
    """So many `texts` at the same time, each of a `prompt` and `new` tokens, 0 where unknown.

    `cache` is the format of the key-value cache and `draft` the model that proposes tokens; both are empty
    for the model's own numbers and for none.
    """

    texts: int
    prompt: int = 0
    new: int = 0
    cache: str = ""
    draft: str = ""

    @property
    def qualifier(self) -> str:
        """The point as measurements have it: `8 int8 prompt=64 new=32 draft=small`."""
        known = {"prompt": self.prompt, "new": self.new, "draft": self.draft}
        own = (f"{name}={value}" for name, value in known.items() if value)
        return " ".join([str(self.texts), *([self.cache] if self.cache else []), *own])


def read_point(qualifier: str) -> GenerationPoint:
    """Return the point that a qualifier names; raises ValueError for one of another form."""
    texts, *words = qualifier.split()
    named = dict(word.split("=", 1) for word in words if "=" in word)
    plain = [word for word in words if "=" not in word]
    return GenerationPoint(
        int(texts),
        int(named.get("prompt", 0)),
        int(named.get("new", 0)),
        plain[0] if plain else "",
        named.get("draft", ""),
    )


def points_of(
    lengths: Sequence[tuple[int, int]], texts: Sequence[int], cache: str = "", draft: str = ""
) -> list[GenerationPoint]:
    """Return the points of lengths (prompt, new) and numbers of texts, with one cache and draft."""
    return [GenerationPoint(size, *length, cache, draft) for length, size in product(lengths, texts)]


def acceptance(tokens_of_steps: Sequence[int], drafted: int) -> float | None:
    """Return the share of proposed tokens that were kept, None without a step.

    `tokens_of_steps` are those that a text got in steps that checked `drafted` proposals each: one token is
    the large model's own.
    """
    return fmean((tokens - 1) / drafted for tokens in tokens_of_steps) if tokens_of_steps else None


def decode_share(bytes_moved: float, bytes_per_s: float, step_s: float) -> float:
    """Return which share of a step's time reading weights and cache once takes.

    A step gives each text a token, or several where a draft proposed them. No step is faster, unless a cache
    of the processor holds what is read. Source: Pope et al. 2023, "Efficiently Scaling Transformer
    Inference", section 2.
    """
    return bytes_moved / bytes_per_s / step_s
