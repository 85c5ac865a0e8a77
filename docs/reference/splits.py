"""How the data of each workload are split: what keeps the parts apart, and how many samples each has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Split:
    """What is kept in one part, and the samples of training, validation and test."""

    how: str
    samples: tuple[int, int, int]


_CLOTHES = Split(
    "the set's own test images; validation at random from its training images, equal ones together",
    (54_000, 6_000, 10_000),
)
_SENTENCES = Split("sentences at random, by a hash of their words; equal ones once", (6_396, 1_066, 1_066))
_PLAYS = "whole plays"
_SYMBOLS = Split(f"{_PLAYS}; the tokenizer is learnt from those of the training", (6_769, 64, 64))
_PLACES = Split("40 countries and territories each are the test's and validation's alone", (8_000, 600, 600))
_SERVICE = "nearly equal questions, and questions of one answer, together"
_DEFINITIONS = "definitions at random, by a hash of their words; equal ones once"
_AMONG_OTHERS = "each among 99 that are not"

SPLITS: Mapping[str, Split] = {
    "fashion-mnist-simplecnn": _CLOTHES,
    "fashion-mnist-simplecnn-mse": _CLOTHES,
    "fashion-mnist-resnet18": _CLOTHES,
    "fashion-mnist-vit": _CLOTHES,
    "composed-scenes-detector": Split(
        "no item of clothing and no photograph is in two parts", (3_000, 400, 400)
    ),
    "digits": Split("stratified by digit; validation at random", (1_150, 287, 360)),
    "diabetes-mlp": Split("patients at random", (236, 59, 147)),
    "breast-cancer-mlp": Split("stratified by diagnosis; validation at random", (303, 76, 190)),
    "stained-tissue-cnn": Split(
        "blocks of 64 × 64 pixels of one slide, which is of one patient", (3_078, 1_053, 1_053)
    ),
    "movielens-100k-factors": Split(
        f"each user's latest film is the test's, the one before validation's, {_AMONG_OTHERS}",
        (490_570, 94_300, 94_300),
    ),
    "factbook-trade-factors": Split(
        f"one thing that each country does is the test's, one validation's, {_AMONG_OTHERS}",
        (32_830, 23_600, 23_600),
    ),
    "shakespeare-gpt2": Split(_PLAYS, (10_000, 200, 200)),
    "shakespeare-llama": _SYMBOLS,
    "shakespeare-llama-22m": _SYMBOLS,
    "rotten-tomatoes-textcnn": _SENTENCES,
    "rotten-tomatoes-minilm": _SENTENCES,
    "wordnet-supersense-transformer": Split(_DEFINITIONS, (112_690, 2_000, 2_000)),
    "wordnet-bert": Split(_DEFINITIONS, (112_690, 1_000, 1_000)),
    "factbook-minilm": _PLACES,
    "factbook-bert": _PLACES,
    "service-topics-minilm": Split(_SERVICE, (442, 140, 140)),
    "service-answers-minilm": Split(_SERVICE, (448, 150, 150)),
    "libreoffice-en-de-transformer": Split(
        "whole pages, by a hash of their names; what is on a training page is left out of the others",
        (20_480, 400, 400),
    ),
}
"""Of each workload that comes with the suite."""
