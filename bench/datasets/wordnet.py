"""WordNet 3.0 (Miller 1995): definitions of senses, and the supersense of each, from a Debian package."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from bench.datasets.labelled_texts import LabelledTexts, split
from bench.datasets.packaged import Package, PackagedSet

SUPERSENSES = 45
"""WordNet's lexicographer files, as lexnames(5WN) numbers them: 5 is animals, 38 is verbs of motion."""

TEST_DEFINITIONS = 2000

_FOLDER = "usr/share/wordnet"
_PARTS = ("noun", "verb", "adj", "adv")

SET = PackagedSet(
    "wordnet",
    (Package("Debian", "wordnet-base", tuple(f"{_FOLDER}/data.{part}" for part in _PARTS)),),
    content_sha256="b76558743194a4496a7189c99814d0d0a8d87a6b65a563b8f47d3eb5feaef63a",
)
locate = SET.locate
fetch = SET.fetch


def load() -> LabelledTexts:
    """Return the definitions of all senses, without examples, and their supersenses as classes."""
    folder = SET.here() / _FOLDER
    lines = (
        line for part in _PARTS for line in (folder / f"data.{part}").read_text(encoding="utf-8").splitlines()
    )
    return split(definitions(lines), TEST_DEFINITIONS)


def definitions(lines: Iterable[str]) -> Iterator[tuple[str, int]]:
    """Yield definition and supersense of each sense in lines of a data file, see wndb(5WN).

    What follows a definition in quotation marks is an example of use, and left out. Lines that begin with
    spaces are the licence.
    """
    for line in lines:
        if not line.startswith(" "):
            fields, _, gloss = line.partition(" | ")
            yield gloss.partition('; "')[0].strip(), int(fields.split(" ", 2)[1])
