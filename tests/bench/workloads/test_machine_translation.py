import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from bench import datasets
from bench.datasets.libreoffice_help import ParagraphPairs
from bench.errors import DataError
from bench.workloads import machine_translation
from bench.workloads.encoder_decoder import EncoderDecoder
from bench.workloads.machine_translation import (
    END,
    PARTS,
    SOURCE_LENGTH,
    START,
    TARGET_LENGTH,
    TEST_PAIRS,
    VOCABULARY,
    nearest_neighbour_scores,
    part_of,
    split,
    to_texts,
    token_frequencies,
    token_quality,
    translate,
    translation_scores,
)
from bench.workloads.machine_translation import LIBREOFFICE_EN_DE_TRANSFORMER as WORKLOAD
from bench.workloads.workload import Data
from tests.support.learning import losses_of


@pytest.fixture(scope="session")
def data() -> Data:
    for package in ("sacrebleu", "tokenizers"):
        pytest.importorskip(package)
    try:
        datasets.fetch("libreoffice-help")
    except DataError as error:
        pytest.skip(f"needs LibreOffice's help: {error}")
    return WORKLOAD.data()


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Nets this small lose more to threads that wait for each other on a busy machine than they gain."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def small_model() -> EncoderDecoder:
    torch.manual_seed(0)
    return EncoderDecoder(50, source_length=6, target_length=5, width=16, layers=2, heads=2).eval()


def sources_of(inputs: torch.Tensor) -> list[str]:
    return to_texts(inputs[:, :SOURCE_LENGTH])


def test_what_stands_on_a_page_of_one_part_is_in_no_other() -> None:
    names = [f"shared/{number}.html" for number in range(500)]
    page = {part: next(name for name in names if part_of(name) == part) for part in PARTS}
    texts = [
        *(("train", "Open", "Öffnen"), ("train", "Open", "Öffnen")),
        *(("test", "OPEN", "ÖFFNEN"), ("test", "Close", "Schließen"), ("test", "Close", "Beenden")),
        *(
            ("validation", "open", "öffnen"),
            ("validation", "close", "zu"),
            ("validation", "Save", "Speichern"),
        ),
    ]
    parts, english, german = zip(*texts, strict=True)
    assert split(ParagraphPairs(tuple(page[part] for part in parts), english, german)) == {
        "train": [("Open", "Öffnen")],
        "test": [("Close", "Schließen")],
        "validation": [("Save", "Speichern")],
    }


def test_no_sentence_is_in_two_parts(data: Data) -> None:
    assert data.validation is not None
    train, *held = (
        sources_of(inputs) for inputs in (data.train_inputs, data.validation.inputs, data.test_inputs)
    )
    for part in held:
        assert not set(train) & set(part)
        assert len(set(part)) == len(part) == TEST_PAIRS
    assert not set(held[0]) & set(held[1])
    assert 4 * TEST_PAIRS * TARGET_LENGTH * VOCABULARY < 150e6


def test_samples_are_source_and_shifted_target_of_real_pairs(data: Data) -> None:
    pairs = datasets.load("libreoffice-help")
    known = set(zip(pairs.english, pairs.german, strict=True))

    assert set(zip(sources_of(data.test_inputs), to_texts(data.test_targets), strict=True)) <= known
    for inputs, targets in ((data.train_inputs, data.train_targets), (data.test_inputs, data.test_targets)):
        given = inputs[:, SOURCE_LENGTH:]
        assert (given[:, 0] == START).all()
        assert torch.equal(given[:, 1:], targets[:, :-1].masked_fill(targets[:, :-1] == END, 0))
        assert ((targets == END).sum(dim=1) == 1).all()
        assert (inputs[:, 0] != 0).all()


def test_data_is_kept_ready_to_load(data: Data, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine_translation, "_make", lambda: pytest.fail("made anew"))

    assert torch.equal(WORKLOAD.data().train_inputs, data.train_inputs)


def test_tokenizer_learns_the_same_each_time() -> None:
    pytest.importorskip("tokenizers")
    texts = [f"Zelle {number} öffnen und schließen" for number in range(200)]

    first, second = machine_translation.learn_tokenizer(texts), machine_translation.learn_tokenizer(texts)

    assert first.to_str() == second.to_str()
    assert first.decode(first.encode("Größe: 100 €").ids).strip() == "Größe: 100 €"


def test_quality_counts_real_tokens_only() -> None:
    targets = torch.tensor([[3, 2, 0], [2, 0, 0]])
    outputs = torch.full((2, 3, 4), -100.0)
    outputs[0, 0, 3] = outputs[0, 1, 2] = 0.0
    outputs[1, 0, [1, 2]] = torch.tensor([math.log(3), 0.0])

    quality = token_quality(outputs, targets)

    assert next(iter(quality)) == "likelihood"
    assert quality["accuracy"] == pytest.approx(2 / 3)
    assert quality["nats"] == pytest.approx(math.log(4) / 3)
    assert quality["likelihood"] == pytest.approx(4 ** (-1 / 3))


def test_frequent_tokens_are_the_baseline() -> None:
    inputs = torch.zeros(1, SOURCE_LENGTH + TARGET_LENGTH, dtype=torch.int64)
    data = Data(inputs, torch.tensor([[7, 7, 2]]), inputs, torch.tensor([[7, 2, 0]]))

    expected = math.sqrt(3 * 2) / (VOCABULARY + 3)
    assert token_frequencies(data) == {"token frequencies": pytest.approx(expected)}


def test_the_right_translation_scores_full_marks() -> None:
    pytest.importorskip("sacrebleu")
    texts = ["Öffnet das Dialogfeld Zellen formatieren.", "Wählen Sie Bearbeiten - Kopieren aus."]

    assert translation_scores(texts, texts) == {"bleu": pytest.approx(100), "chrf": pytest.approx(100)}
    assert translation_scores(texts[::-1], texts)["bleu"] < 10


def test_nearest_neighbour_of_a_trained_sentence_is_its_translation(data: Data) -> None:
    known = Data(*(tensor[:200] for tensor in (data.train_inputs, data.train_targets) * 2))

    assert nearest_neighbour_scores(known)["bleu_nearest_neighbour"] > 95


def test_a_token_sees_only_tokens_before_it_and_no_padding() -> None:
    model = small_model()
    tokens = torch.tensor([[5, 6, 7, 0, 0, 0, 1, 8, 9, 10, 0]])
    outputs = model(tokens)

    later = tokens.clone()
    later[0, 9] = 20
    assert torch.allclose(model(later)[:, :3], outputs[:, :3])
    assert not torch.allclose(model(later)[:, 3], outputs[:, 3])
    shorter = EncoderDecoder(50, source_length=3, target_length=5, width=16, layers=2, heads=2).eval()
    shorter.load_state_dict(model.state_dict())
    unpadded = torch.cat([tokens[:, :3], tokens[:, 6:]], dim=1)
    assert torch.allclose(shorter(unpadded), outputs, atol=1e-5)


def test_greedy_translation_repeats_what_teacher_forcing_finds_likeliest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(machine_translation, "TARGET_LENGTH", 5)
    model, sources = small_model(), torch.randint(3, 50, (4, 6))

    written = translate(model, sources)

    start = torch.full((4, 1), START)
    forced = model(torch.cat([sources, start, written[:, :-1]], dim=1))
    assert torch.equal(forced.argmax(dim=2), written)


def test_exported_to_onnx_gives_the_same_outputs(tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    model = small_model()
    batch = torch.randint(3, 50, (2, 11))
    batch[1, 4:6] = 0

    torch.onnx.export(model, (batch,), tmp_path / "m.onnx", dynamo=True, external_data=False, verbose=False)
    session = onnxruntime.InferenceSession(tmp_path / "m.onnx", providers=["CPUExecutionProvider"])
    found = session.run(None, {session.get_inputs()[0].name: batch.numpy()})[0]

    np.testing.assert_allclose(found, model(batch).detach().numpy(), atol=1e-4)


def test_loss_of_a_narrow_student_falls_over_a_few_steps(data: Data) -> None:
    assert WORKLOAD.student is not None
    torch.manual_seed(0)
    model = WORKLOAD.student(0.25)

    losses = losses_of(WORKLOAD, model, data.train_inputs[:16], data.train_targets[:16], steps=8, rate=3e-3)

    assert losses[-1] < 0.8 * losses[0]
