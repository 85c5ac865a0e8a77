"""Questions and answers by topic: the English part of the ChatterBot corpus, BSD, from a PyPI package.

Topics are computers, technical support, coding, and what else people ask a service that chats. The package
repeats some questions a hundred times, technical support's all: each is here once.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import combinations
from pathlib import Path

from bench.datasets.packaged import Package, PackagedSet

LEAST = 10
"""Questions that a topic has at least; the four with fewer are left out of `topics`."""

NEARLY_SAME = 0.8
"""Share of the words of two questions that both have (Jaccard), from which on they are nearly the same."""

SET = PackagedSet(
    "chatterbot-corpus",
    (Package("PyPI", "chatterbot-corpus", ("chatterbot_corpus/data/english/*.yml",), "1.3.3"),),
    content_sha256="1034441a20fe9cceabf35199490ed81cb2815f227553093d22e7f071e8a50e5b",
)
locate = SET.locate
fetch = SET.fetch


@dataclass(frozen=True)
class Exchange:
    """A question, the first answer to it, and the topic: the name of its file."""

    question: str
    answer: str
    topic: str


def load() -> tuple[Exchange, ...]:
    """Return each question once, in the order of the files and in them; case and marks make no other one."""
    found: dict[str, Exchange] = {}
    for exchange in _exchanges(SET.here()):
        found.setdefault(" ".join(_words(exchange.question)), exchange)
    return tuple(found.values())


def topics(exchanges: tuple[Exchange, ...]) -> tuple[str, ...]:
    """Return the topics that have `LEAST` questions or more, in alphabetical order."""
    counts = Counter(exchange.topic for exchange in exchanges)
    return tuple(sorted(topic for topic, count in counts.items() if count >= LEAST))


def parts(exchanges: Sequence[Exchange], wanted: int) -> dict[str, tuple[Exchange, ...]]:
    """Return those of `test` and `validation`, `wanted` of each where groups allow it, and of `train`.

    Exchanges of one answer or of nearly the same question stay together: else a model could answer a test
    question by heart. Their order is that of a hash of the questions, the same each time.
    """
    ordered = sorted(exchanges, key=lambda one: sha256(one.question.lower().encode()).digest())
    groups: dict[int, list[Exchange]] = {}
    for exchange, group in zip(ordered, _groups(ordered), strict=True):
        groups.setdefault(group, []).append(exchange)
    found: dict[str, list[Exchange]] = {"test": [], "validation": [], "train": []}
    for members in groups.values():
        has_room = (name for name in ("test", "validation") if len(found[name]) + len(members) <= wanted)
        found[next(has_room, "train")] += members
    return {name: tuple(part) for name, part in found.items()}


def _groups(exchanges: Sequence[Exchange]) -> list[int]:
    """Return the number of each exchange's group: chains of one answer or nearly the same question."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    words = [frozenset(_words(one.question)) for one in exchanges]
    answers = [_words(one.answer) for one in exchanges]
    kin = [
        pair
        for pair in combinations(range(len(exchanges)), 2)
        if answers[pair[0]] == answers[pair[1]] or nearly_same(words[pair[0]], words[pair[1]])
    ]
    rows, columns = ([pair[end] for pair in kin] for end in (0, 1))
    graph = coo_array(([1] * len(kin), (rows, columns)), shape=(len(exchanges),) * 2)
    return [int(number) for number in connected_components(graph, directed=False)[1]]


def nearly_same(one: frozenset[str], other: frozenset[str]) -> bool:
    """Say whether two questions have most of their words in common."""
    return len(one & other) >= NEARLY_SAME * len(one | other)


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())


def _exchanges(folder: Path) -> Iterator[Exchange]:
    import yaml

    for file in sorted(folder.glob("chatterbot_corpus/data/english/*.yml")):
        content = yaml.safe_load(file.read_bytes())
        for said in content["conversations"]:
            if len(said) > 1:
                yield Exchange(str(said[0]).strip(), str(said[1]).strip(), file.stem)
