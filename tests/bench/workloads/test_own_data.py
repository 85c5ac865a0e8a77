"""Data of one's own: folders of images and tables of texts become samples, split the same way each time."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bench.errors import DataError
from bench.workloads.sources import image_folder, text_table
from bench.workloads.words import PADDING, UNKNOWN


@pytest.fixture
def images(tmp_path: Path) -> Path:
    for name, grey in (("cat", 10), ("dog", 200)):
        (tmp_path / name).mkdir()
        for number in range(20):
            pixels = np.full((9, 7, 3), grey, dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / name / f"{number}.png")
    return tmp_path


def test_a_folder_for_each_class_becomes_images_and_class_numbers(images: Path) -> None:
    found = image_folder(images, size=8)
    data = found.data
    assert found.classes == ("cat", "dog")
    assert len(data.train_inputs) + len(data.test_inputs) == 40 and len(data.test_inputs) > 2
    assert data.train_inputs.shape[1:] == (3, 8, 8)
    assert ((data.train_inputs.float().mean((1, 2, 3)) > 100).long() == data.train_targets).all()


def test_more_files_leave_the_split_of_the_others_alone(images: Path) -> None:
    before = len(image_folder(images, 8).data.test_inputs)
    Image.fromarray(np.zeros((9, 7, 3), dtype=np.uint8)).save(images / "cat" / "another.png")
    after = image_folder(images, 8).data
    assert len(after.test_inputs) - before in (0, 1)
    assert len(after.train_inputs) + len(after.test_inputs) == 41


def test_a_file_that_is_no_image_and_a_folder_of_one_class_are_told(images: Path, tmp_path: Path) -> None:
    (images / "cat" / "broken.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"broken.png: cannot be read as an image"):
        image_folder(images, 8)
    (tmp_path / "one" / "cat").mkdir(parents=True)
    with pytest.raises(DataError, match="0 classes found"):
        image_folder(tmp_path / "one", 8)


ROWS = [{"text": f"good thing {number}", "label": "yes"} for number in range(20)]
ROWS += [{"text": f"bad thing, {number}", "label": "no"} for number in range(20)]


@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
def test_a_table_of_texts_becomes_tokens_of_the_training_words(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"texts{suffix}"
    if suffix == ".csv":
        lines = ["text,label", *(f'"{row["text"]}",{row["label"]}' for row in ROWS)]
    else:
        lines = [json.dumps(row) for row in ROWS]
    path.write_text("\n".join(lines))
    found = text_table(path, length=6)
    data = found.data
    assert found.classes == ("no", "yes") and data.train_inputs.shape[1] == 6
    good = data.train_inputs[data.train_targets == 1]
    assert {found.vocabulary[number] for number in good[:, 0].tolist()} == {"good"}
    assert (good[:, -1] == PADDING).all()
    known = set(data.train_inputs.flatten().tolist())
    assert set(data.test_inputs.flatten().tolist()) <= known | {UNKNOWN}


def test_a_column_that_is_missing_is_told_with_those_that_are_there(tmp_path: Path) -> None:
    path = tmp_path / "texts.csv"
    path.write_text("sentence,label\na,b\n")
    with pytest.raises(DataError, match="no column 'text'; it has sentence, label"):
        text_table(path, 4)
