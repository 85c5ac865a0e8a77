"""Questions on the World Factbook with passages that hold the answers, as numbers of MiniLM's tokens.

A question names a field and a place: "What is the Birth rate of Kenya?". Its passage is values without
their names, one of each neighbouring field in the Factbook's order: which of them answers must be told from
its unit, its kind and its place. The answer is a value's leading part, without year and remarks. Training,
validation and test have places of their own.
"""

from __future__ import annotations

import functools
import html
import itertools
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bench import datasets
from bench.datasets.prepared import prepared

if TYPE_CHECKING:
    from tokenizers import Encoding

LENGTH = 96
"""Tokens of an input: `[CLS] question [SEP] passage [SEP]`, then zeros."""
LONGEST_ANSWER = 20
"""Tokens of an answer at most."""
MOST = {"train": 8_000, "test": 600, "validation": 600}
"""Questions of each part at most."""
TEST_PLACES = VALIDATION_PLACES = 40
_PER_PLACE = 60
_SEED = 0
_FIELDS = 7
"""Fields of a passage; what is beyond `LENGTH` tokens is cut off."""
_VALUE_WORDS = 10
_ANSWER_WORDS = 8
_MIN_PLACES = 20
"""A field of fewer places is not asked for: its questions could not be learned."""


@dataclass(frozen=True)
class Fact:
    """One value of one place: `part` is one of several of its field, or empty."""

    field: str
    part: str
    value: str

    @property
    def subject(self) -> str:
        """What a question asks for."""
        if self.part in ("", "name"):
            return self.field
        if self.part.lower().startswith(self.field.lower()):
            return self.part
        return f"{self.field}, {self.part},"

    @property
    def answer(self) -> str:
        """The value's leading part, empty where there is none that is short."""
        leading = re.split(r"\s\(|;| - ", self.value, maxsplit=1)[0].rstrip(" .,-")
        short = len(leading.split()) <= _ANSWER_WORDS
        # A bracket begins a telephone number, or a value that begins with its year.
        return leading if short and leading not in ("NA", "none") and leading[:1] not in "([" else ""


@dataclass(frozen=True)
class Question:
    """A question, its passage, and the answer, which begins at a character of the passage."""

    subject: str
    text: str
    passage: str
    start: int
    answer: str


@dataclass(frozen=True)
class Questions:
    """All questions as tokens (n, LENGTH), int64, and their answers (n, 3), int64.

    An answer is its first position, its last, and the number of its question. By that number there are
    passages (questions,), and the characters of each token in them (questions, LENGTH, 2), 0 outside. Of the
    test's there is the training's most frequent answer to the same question of other places (n,).
    """

    train_inputs: NDArray[np.int64]
    train_targets: NDArray[np.int64]
    validation_inputs: NDArray[np.int64]
    validation_targets: NDArray[np.int64]
    test_inputs: NDArray[np.int64]
    test_targets: NDArray[np.int64]
    passages: NDArray[np.str_]
    characters: NDArray[np.int64]
    usual_answers: NDArray[np.str_]


@functools.cache
def load() -> Questions:
    """Return the questions, the same ones each time; raises DataError where a data set is not here."""
    return Questions(**prepared("world-factbook", __file__, _prepare))  # type: ignore[arg-type]


def _prepare() -> Mapping[str, NDArray[Any]]:
    composed = compose(datasets.load("world-factbook"))
    parts = {part: list(_whole(composed[part]))[:most] for part, most in MOST.items()}
    numbers = itertools.count()
    arrays: dict[str, NDArray[Any]] = {}
    for part, own in parts.items():
        arrays[f"{part}_inputs"] = np.array([encoding.ids for _, encoding, _ in own])
        arrays[f"{part}_targets"] = np.array([(*span, next(numbers)) for _, _, span in own])
    every = [entry for own in parts.values() for entry in own]
    return {
        **arrays,
        "passages": np.array([question.passage for question, _, _ in every]),
        "characters": np.array([_characters(encoding) for _, encoding, _ in every]),
        "usual_answers": np.array(
            usual_answers(*([question for question, _, _ in parts[part]] for part in ("train", "test")))
        ),
    }


def usual_answers(train: Sequence[Question], asked: Sequence[Question]) -> list[str]:
    """Return the most frequent answer in training to each question that is asked; empty where it has none."""
    answers: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for question in train:
        answers[question.subject][question.answer] += 1
    return [
        max(answers[question.subject].items(), key=lambda item: item[1], default=("",))[0]
        for question in asked
    ]


def compose(entries: Mapping[str, Mapping[str, Any]]) -> dict[str, list[Question]]:
    """Return the questions of each part, in random order."""
    random = np.random.RandomState(_SEED)
    places = {}
    for key, entry in entries.items():
        name = _name(entry)
        if name and key != "world/xx":
            places[name] = facts(entry)
    counts = Counter(fact.subject for found in places.values() for fact in found if fact.answer)
    names = random.permutation(sorted(places))
    held = TEST_PLACES + VALIDATION_PLACES
    chosen_of = {"train": names[held:], "test": names[:TEST_PLACES], "validation": names[TEST_PLACES:held]}
    parts = {}
    for part, chosen in chosen_of.items():
        questions = []
        for name in chosen:
            asked = [fact for fact in places[name] if fact.answer and counts[fact.subject] >= _MIN_PLACES]
            for number in random.permutation(len(asked))[:_PER_PLACE]:
                questions.append(_question(name, asked[number], places[name], random))
        parts[part] = [questions[number] for number in random.permutation(len(questions))]
    return parts


def facts(entry: Mapping[str, Any]) -> list[Fact]:
    """Return a place's facts in their order, each subject once; none that is told in two ways."""
    found: dict[str, Fact] = {}
    doubtful = set()
    for section in entry.values():
        for field, content in section.items():
            for part, text in _leaves(content):
                fact = Fact(field.strip(), part.strip(), _plain(text, part))
                if not fact.value:
                    continue
                if found.setdefault(fact.subject, fact).value != fact.value:
                    doubtful.add(fact.subject)
    return [fact for subject, fact in found.items() if subject not in doubtful]


def _leaves(content: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for part, leaf in content.items():
        if part == "text":
            yield "", leaf
        elif isinstance(leaf, dict) and "text" in leaf:
            yield part, leaf["text"]


def _plain(text: str, part: str) -> str:
    """Return a text without marks of HTML, and without its own name, which some parts begin with."""
    plain = " ".join(html.unescape(re.sub(r"<[^>]*>", " ", text)).split())
    return plain.removeprefix(f"{part.rpartition(': ')[2]}: ")


def _name(entry: Mapping[str, Any]) -> str:
    forms = entry.get("Government", {}).get("Country name", {})
    names = [forms.get(f"conventional {form} form", {}).get("text", "none") for form in ("short", "long")]
    return next((_plain(name, "") for name in names if name != "none"), "")


def _question(place: str, fact: Fact, known: Sequence[Fact], random: np.random.RandomState) -> Question:
    fields: dict[str, list[Fact]] = {}
    for other in known:
        fields.setdefault(other.field, []).append(other)
    names = list(fields)
    first = max(0, names.index(fact.field) - random.randint(_FIELDS))
    values: list[str] = []
    start = 0
    for name in names[first : first + _FIELDS]:
        if name == fact.field:
            start = sum(len(value) + 2 for value in values)
            chosen = fact
        else:
            chosen = fields[name][random.randint(len(fields[name]))]
        values.append(" ".join(chosen.value.split()[:_VALUE_WORDS]).rstrip(" .;,"))
    text = f"What is the {fact.subject} of {place}?"
    return Question(fact.subject, text, ". ".join(values), start, fact.answer)


def _whole(questions: Sequence[Question]) -> Iterator[tuple[Question, Encoding, tuple[int, int]]]:
    """Yield the questions whose answer is not cut off, with their tokens and the answer's positions."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(datasets.load("minilm") / "tokenizer.json"))
    tokenizer.enable_truncation(LENGTH, strategy="only_second")
    tokenizer.enable_padding(length=LENGTH)
    pairs = [(question.text, question.passage) for question in questions]
    for question, encoding in zip(questions, tokenizer.encode_batch(pairs), strict=True):
        first = encoding.char_to_token(question.start, 1)
        last = encoding.char_to_token(question.start + len(question.answer) - 1, 1)
        if first is not None and last is not None and last - first < LONGEST_ANSWER:
            yield question, encoding, (first, last)


def _characters(encoding: Encoding) -> list[tuple[int, int]]:
    """Return where each token's characters begin and end in the passage, 0 and 0 outside of it."""
    pairs = zip(encoding.offsets, encoding.sequence_ids, strict=True)
    return [offset if sequence == 1 else (0, 0) for offset, sequence in pairs]
