"""A directory of transformers is served whole, or one line says what of it is not there."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from bench.errors import StageError
from bench.workloads.huggingface import load

transformers = pytest.importorskip("transformers")

BERT: dict[str, Any] = {
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "vocab_size": 50,
    "max_position_embeddings": 32,
}


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of small models by the names of their classes."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("models")
    bert = transformers.BertConfig(**BERT, num_labels=3)
    roberta = transformers.RobertaConfig(**BERT | {"max_position_embeddings": 34}, pad_token_id=1)
    vit = transformers.ViTConfig(
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        image_size=[8, 8],
        patch_size=4,
    )
    for name, config in (
        ("BertModel", bert),
        ("BertForSequenceClassification", bert),
        ("RobertaForMaskedLM", roberta),
        ("ViTForImageClassification", vit),
    ):
        getattr(transformers, name)(config).save_pretrained(folder / name)
    return folder


@pytest.fixture
def copied(saved: Path, tmp_path: Path) -> Callable[..., Path]:
    """Copy a model and change its configuration; None takes an entry out."""

    def copy(name: str, **changes: object) -> Path:
        for file in (saved / name).iterdir():
            (tmp_path / file.name).write_bytes(file.read_bytes())
        config = json.loads((tmp_path / "config.json").read_text()) | changes
        kept = {key: value for key, value in config.items() if value is not None}
        (tmp_path / "config.json").write_text(json.dumps(kept))
        return tmp_path

    return copy


def served(folder: Path, length: int = 8) -> Any:
    workload = load(str(folder), length)
    with torch.no_grad():
        found = workload.model()(workload.data().test_inputs[:2])
    return found if isinstance(found, torch.Tensor) else found["logits"]


def test_whole_models_are_served_at_tokens_or_pixels(saved: Path) -> None:
    assert served(saved / "BertForSequenceClassification").shape == (2, 3)
    assert served(saved / "RobertaForMaskedLM").shape == (2, 8, 50)
    assert served(saved / "ViTForImageClassification").shape == (2, 2)


@pytest.mark.parametrize(
    ("name", "most"), [("BertForSequenceClassification", 32), ("RobertaForMaskedLM", 32)]
)
def test_texts_of_more_tokens_than_positions_are_refused(saved: Path, name: str, most: int) -> None:
    assert len(served(saved / name, most)) == 2
    for length in (most + 1, 1000):
        with pytest.raises(StageError, match=rf"length={length} is more than the \d+ positions"):
            served(saved / name, length)


def test_a_checkpoint_without_its_head_is_refused(copied: Callable[..., Path]) -> None:
    folder = copied("BertModel", architectures=["BertForSequenceClassification"])
    with pytest.raises(
        StageError, match=r"lack classifier\.bias, classifier\.weight of BertForSeq.*at random"
    ):
        served(folder)


def test_a_head_that_no_class_is_named_for_is_refused(copied: Callable[..., Path]) -> None:
    with pytest.raises(StageError, match=r"names no architectures, and BertModel has no classifier\.bias"):
        served(copied("BertForSequenceClassification", architectures=None))


def test_an_architecture_that_transformers_lacks_is_refused(copied: Callable[..., Path]) -> None:
    with pytest.raises(StageError, match=r"transformers .* has no model MyBert, which config.json names"):
        served(copied("BertForSequenceClassification", architectures=["MyBert"]))


def test_labels_that_the_weights_do_not_have_are_one_line(copied: Callable[..., Path]) -> None:
    with pytest.raises(StageError, match=r"huggingface:\S+: .+") as caught:
        served(copied("BertForSequenceClassification", id2label=None, label2id=None))
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 500


@pytest.mark.parametrize("content", [None, b"", b"no weights", b"\x10\0\0\0\0\0\0\0{}"])
def test_weights_that_are_missing_or_damaged_are_one_line(
    copied: Callable[..., Path], content: bytes | None
) -> None:
    folder = copied("BertModel")
    if content is None:
        (folder / "model.safetensors").unlink()
    else:
        (folder / "model.safetensors").write_bytes(content)
    with pytest.raises(StageError, match=r"huggingface:\S+: .+") as caught:
        served(folder)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 500


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"a": 1}', '{"model_type": "no-such"}', '{"model_type": 3}']
)
def test_a_configuration_that_names_no_model_is_one_line(tmp_path: Path, content: str) -> None:
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(StageError, match=r"huggingface:\S+: .+") as caught:
        load(str(tmp_path), 8)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 500


@pytest.mark.parametrize(
    ("name", "takes"),
    [
        ("Wav2Vec2ForCTC", "takes input_values"),
        ("CLIPModel", "takes texts and images"),
        ("T5ForConditionalGeneration", "two inputs, source and target"),
    ],
)
def test_models_of_other_inputs_are_refused(tmp_path: Path, name: str, takes: str) -> None:
    config = getattr(transformers, name).config_class()
    config.architectures = [name]
    config.save_pretrained(tmp_path)
    with pytest.raises(StageError, match=takes):
        load(str(tmp_path), 8)
