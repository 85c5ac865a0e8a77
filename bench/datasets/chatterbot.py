"""Questions and answers by topic: the English part of the ChatterBot corpus, BSD, from a PyPI package.

Topics are computers, technical support, coding, and what else people ask a service that chats. The package
repeats some questions a hundred times, technical support's all: each is here once.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.datasets.packaged import Package, PackagedSet

LEAST = 10
"""Questions that a topic has at least; the four with fewer are left out of `topics`."""

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
        found.setdefault(" ".join(re.findall(r"\w+", exchange.question.lower())), exchange)
    return tuple(found.values())


def topics(exchanges: tuple[Exchange, ...]) -> tuple[str, ...]:
    """Return the topics that have `LEAST` questions or more, in alphabetical order."""
    counts = Counter(exchange.topic for exchange in exchanges)
    return tuple(sorted(topic for topic, count in counts.items() if count >= LEAST))


def _exchanges(folder: Path) -> Iterator[Exchange]:
    import yaml

    for file in sorted(folder.glob("chatterbot_corpus/data/english/*.yml")):
        content = yaml.safe_load(file.read_bytes())
        for said in content["conversations"]:
            if len(said) > 1:
                yield Exchange(str(said[0]).strip(), str(said[1]).strip(), file.stem)
