"""Data for workloads of one's own: a folder of images, a table of labelled texts."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import torch

from bench.errors import DataError
from bench.workloads.words import RESERVED, encode, vocabulary
from bench.workloads.workload import Data

IMAGES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp")


@dataclass(frozen=True)
class Labelled:
    """Data for a classification; `classes` in the order of the class numbers, `vocabulary` of texts."""

    data: Data
    classes: tuple[str, ...]
    vocabulary: tuple[str, ...] = ()


def image_folder(folder: str | Path, size: int, test_share: float = 0.2) -> Labelled:
    """Read a folder of folders of images, one for each class, as uint8 (samples, 3, size, size).

    The split is by a hash of each file's path within the folder: it stays as files are added. Raises
    DataError where there are no two classes, or a file is no image.
    """
    from PIL import Image, UnidentifiedImageError

    root = Path(folder)
    files = [path for path in sorted(root.glob("*/*")) if path.suffix.lower() in IMAGES]
    pixels = []
    for path in files:
        try:
            with Image.open(path) as image:
                small = image.convert("RGB").resize((size, size))
        except (OSError, UnidentifiedImageError) as error:
            raise DataError(f"{path}: cannot be read as an image: {error}") from None
        pixels.append(torch.frombuffer(bytearray(small.tobytes()), dtype=torch.uint8).view(size, size, 3))
    names = [path.parent.name for path in files]
    test = [_is_test(path.relative_to(root).as_posix(), test_share) for path in files]
    classes = _classes(names, f"{root}: one folder for each class, of {', '.join(IMAGES)}")
    return Labelled(
        _split(torch.stack(pixels).permute(0, 3, 1, 2).contiguous(), names, classes, test), classes
    )


def text_table(
    file: str | Path,
    length: int,
    *,
    text: str = "text",
    label: str = "label",
    words: int = 10_000,
    test_share: float = 0.2,
) -> Labelled:
    """Read labelled texts from a CSV file with a head line, or from JSONL, as int64 (samples, length).

    Words are those of the training texts, the most frequent `words` of them; the split is by a hash of the
    text, so that equal texts are on one side. Raises DataError where a column is missing.
    """
    path = Path(file)
    rows = [(_column(path, row, text), _column(path, row, label)) for row in _rows(path)]
    test = [_is_test(content, test_share) for content, _ in rows]
    training = [content for (content, _), held in zip(rows, test, strict=True) if not held]
    numbers = vocabulary(training, words + RESERVED)
    inputs = torch.as_tensor(encode([content for content, _ in rows], numbers, length)).to(torch.int64)
    names = [name for _, name in rows]
    classes = _classes(names, f"{path}: column {label!r}")
    return Labelled(_split(inputs, names, classes, test), classes, ("", "?", *numbers))


def _rows(path: Path) -> Iterator[dict[str, str]]:
    try:
        with path.open(encoding="utf-8", newline="") as file:
            if path.suffix == ".csv":
                yield from csv.DictReader(file)
            else:
                yield from (json.loads(line) for line in file if line.strip())
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read as {path.suffix[1:] or 'JSONL'}: {error}") from None


def _column(path: Path, row: dict[str, str], name: str) -> str:
    if row.get(name) is None:
        raise DataError(f"{path}: has no column {name!r}; it has {', '.join(map(str, row))}")
    return str(row[name])


def _is_test(text: str, share: float) -> bool:
    return int(sha256(text.encode()).hexdigest()[:8], 16) < share * 2**32


def _classes(names: Sequence[str], where: str) -> tuple[str, ...]:
    classes = tuple(sorted(set(names)))
    if len(classes) < 2:
        raise DataError(f"{where}: {len(classes)} classes found, a classification needs two")
    return classes


def _split(inputs: torch.Tensor, names: Sequence[str], classes: Sequence[str], test: Sequence[bool]) -> Data:
    targets = torch.tensor([classes.index(name) for name in names])
    held = torch.tensor(test)
    if held.all() or not held.any():
        raise DataError(f"{len(held)} samples are too few to split into training and test")
    return Data(inputs[~held], targets[~held], inputs[held], targets[held])
