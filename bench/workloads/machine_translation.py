"""English paragraphs of LibreOffice's help into German.

A sample is one row of token numbers: the source, and the target shifted right behind a start mark; its
target is the same translation with an end mark. Both are padded to a fixed length with 0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from torch.nn.functional import cross_entropy

from bench import datasets
from bench.datasets.prepared import prepared
from bench.workloads.encoder_decoder import PADDING, TRANSFORMER_PLAN, EncoderDecoder
from bench.workloads.splits import data_of
from bench.workloads.workload import Data, Workload

if TYPE_CHECKING:
    from bench.datasets.libreoffice_help import ParagraphPairs
    from bench.datasets.prepared import Arrays

START, END = 1, 2
VOCABULARY = 3_500
SOURCE_LENGTH = TARGET_LENGTH = 24
"""Tokens of the longest source and of the longest target with its mark; longer pairs are left out."""
TEST_PAIRS = 400
PARTS = ("train", "test", "validation")
HELD_OUT_PAGES = 0.05
"""Share of the pages for the test, and the same for validation."""
HEADS = 4
LABEL_SMOOTHING = 0.1

Texts = Sequence[str]


def part_of(page: str) -> str:
    """Return which part a page is for; whole pages are, since paragraphs of one page are much alike."""
    place = int.from_bytes(sha256(page.encode()).digest()[:4]) / 2**32
    return PARTS[1 + int(place / HELD_OUT_PAGES)] if place < 2 * HELD_OUT_PAGES else PARTS[0]


def split(pairs: ParagraphPairs) -> dict[str, list[tuple[str, str]]]:
    """Return the pairs (English, German) of each part, each once.

    What stands on a page for training is left out of the others, and what stands on a page of the test out of
    validation, in whatever case it is written.
    """
    found: dict[str, dict[str, tuple[str, str]]] = {part: {} for part in PARTS}
    train: dict[tuple[str, str], None] = {}
    for page, english, german in zip(pairs.pages, pairs.english, pairs.german, strict=True):
        part = part_of(page)
        found[part].setdefault(english.casefold(), (english, german))
        if part == PARTS[0]:
            train[english, german] = None
    seen = set(found[PARTS[0]])
    parts = {PARTS[0]: list(train)}
    for part in PARTS[1:]:
        parts[part] = [pair for english, pair in found[part].items() if english not in seen]
        seen |= set(found[part])
    return parts


def learn_tokenizer(texts: Texts) -> Any:
    """Return a byte-level BPE tokenizer (Sennrich et al. 2016), one for both languages, of `VOCABULARY`."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=["<padding>", "<start>", "<end>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def to_tokens(tokenizer: Any, pairs: Sequence[tuple[str, str]]) -> tuple[Any, Any]:
    """Return inputs (pairs, source and target length) and targets (pairs, target length), int16.

    Pairs that are too long are left out.
    """
    inputs, targets = [], []
    sources, translations = (
        [encoding.ids for encoding in tokenizer.encode_batch(texts)] for texts in zip(*pairs, strict=True)
    )
    for source, target in zip(sources, translations, strict=True):
        if len(source) <= SOURCE_LENGTH and len(target) < TARGET_LENGTH:
            inputs.append(_padded(source, SOURCE_LENGTH) + _padded([START, *target], TARGET_LENGTH))
            targets.append(_padded([*target, END], TARGET_LENGTH))
    return np.array(inputs, np.int16), np.array(targets, np.int16)


def _padded(tokens: list[int], length: int) -> list[int]:
    return tokens + [PADDING] * (length - len(tokens))


def _make() -> Arrays:
    pairs = split(datasets.load("libreoffice-help"))
    tokenizer = learn_tokenizer([text for pair in pairs["train"] for text in pair])
    arrays = {"tokenizer": np.frombuffer(tokenizer.to_str().encode(), np.uint8)}
    for part in PARTS:
        inputs, targets = to_tokens(tokenizer, pairs[part])
        if part != "train":
            chosen = np.random.default_rng(0).permutation(len(inputs))[:TEST_PAIRS]
            inputs, targets = inputs[chosen], targets[chosen]
        arrays |= {f"{part}_inputs": inputs, f"{part}_targets": targets}
    return arrays


def _arrays() -> Arrays:
    return prepared("libreoffice-help", __file__, _make)


def _data() -> Data:
    return data_of(_arrays(), torch.int64)


def smoothed_loss(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return the mean cross-entropy of tokens (batch, length) but padding, with label smoothing.

    Outputs are scores (batch, length, VOCABULARY). Source: Szegedy et al. 2016, "Rethinking the Inception
    Architecture", section 7.
    """
    return cross_entropy(
        outputs.flatten(0, 1), targets.flatten(), ignore_index=PADDING, label_smoothing=LABEL_SMOOTHING
    )


def token_quality(outputs: torch.Tensor, targets: torch.Tensor) -> dict[str, float]:
    """Return likelihood, nats and accuracy of the next token, given the right ones before it.

    Over all tokens but padding; outputs (samples, length, VOCABULARY), targets (samples, length).
    """
    tokens = targets != PADDING
    outputs, targets = outputs[tokens], targets[tokens]
    nats = cross_entropy(outputs, targets).double()
    accuracy = (outputs.argmax(dim=1) == targets).double().mean().item()
    return {"likelihood": torch.exp(-nats).item(), "nats": nats.item(), "accuracy": accuracy}


def token_frequencies(data: Data) -> dict[str, float]:
    """Return the likelihood of held-out tokens by how often each occurs in training, and once more."""
    counts = torch.bincount(data.train_targets[data.train_targets != PADDING], minlength=VOCABULARY) + 1
    logarithms = (counts.double() / counts.sum()).log()
    tokens = data.test_targets[data.test_targets != PADDING]
    return {"token frequencies": logarithms[tokens].mean().exp().item()}


@torch.no_grad()
def translate(model: EncoderDecoder, sources: torch.Tensor) -> torch.Tensor:
    """Return greedy translations, end marks in them, shape (n, TARGET_LENGTH).

    Sources are (n, SOURCE_LENGTH), on the CPU like the model.
    """
    model.eval()
    encoded = model.encode(sources)
    written = torch.full((len(sources), 1), START)
    for _ in range(TARGET_LENGTH):
        states = model.decode(written, encoded, sources)[:, -1]
        written = torch.cat([written, model.score(states).argmax(dim=1, keepdim=True)], dim=1)
    return written[:, 1:]


def to_texts(tokens: torch.Tensor) -> list[str]:
    """Return the texts of rows of tokens, each up to its end mark."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_str(_arrays()["tokenizer"].tobytes().decode())
    rows = [row[: row.index(END)] if END in row else row for row in tokens.tolist()]
    return [text.strip() for text in tokenizer.decode_batch(rows)]


def translation_scores(translations: Texts, references: Texts) -> dict[str, float]:
    """Return corpus BLEU (Papineni et al. 2002) and chrF (Popović 2015) by sacreBLEU (Post 2018), 0..100."""
    from sacrebleu import corpus_bleu, corpus_chrf

    return {
        "bleu": corpus_bleu(translations, [references]).score,
        "chrf": corpus_chrf(translations, [references]).score,
    }


def nearest_neighbour_scores(data: Data) -> dict[str, float]:
    """Return BLEU and chrF of the German of the training pair whose English is nearest, by TF-IDF."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectorizer = TfidfVectorizer(token_pattern=r"\w+")
    known = vectorizer.fit_transform(to_texts(data.train_inputs[:, :SOURCE_LENGTH]))
    asked = vectorizer.transform(to_texts(data.test_inputs[:, :SOURCE_LENGTH]))
    nearest = torch.as_tensor(np.asarray((asked @ known.T).argmax(axis=1)).ravel())
    scores = translation_scores(to_texts(data.train_targets[nearest]), to_texts(data.test_targets))
    return {f"{name}_nearest_neighbour": score for name, score in scores.items()}


def _finish(model: torch.nn.Module, data: Data) -> Mapping[str, float]:
    written = translate(cast(EncoderDecoder, model), data.test_inputs[:, :SOURCE_LENGTH])
    scores = translation_scores(to_texts(written), to_texts(data.test_targets))
    return scores | nearest_neighbour_scores(data)


def _transformer(width: float = 1.0, depth: float = 1.0) -> EncoderDecoder:
    channels, layers = HEADS * round(64 * width), max(1, round(3 * depth))
    return EncoderDecoder(VOCABULARY, SOURCE_LENGTH, TARGET_LENGTH, channels, layers, HEADS)


LIBREOFFICE_EN_DE_TRANSFORMER = Workload(
    data=_data,
    transform=lambda tokens: tokens,
    model=_transformer,
    loss=smoothed_loss,
    quality=token_quality,
    outputs="scores:2",
    student=_transformer,
    shallow_student=lambda depth: _transformer(depth=depth),
    baselines=token_frequencies,
    finish=_finish,
    tensor_plan=TRANSFORMER_PLAN,
)
