"""Data for workloads of one's own: a folder of images, a table of labelled texts."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

import numpy as np
import torch

from bench.errors import DataError
from bench.formatting import one_line
from bench.workloads.image_files import find_images, read_pixels
from bench.workloads.table_files import numbered, read_texts
from bench.workloads.words import RESERVED, encode, vocabulary
from bench.workloads.workload import Data, Samples

TRAINING, VALIDATION, TEST = range(3)


@dataclass(frozen=True)
class Labelled:
    """Data for a classification; `classes` in the order of the class numbers, `vocabulary` of texts.

    What was left out of a folder or table stands in `data.notes`. `columns` has further columns of the test
    samples, by name: give a Workload `columns=lambda data: labelled.columns`.
    """

    data: Data
    classes: tuple[str, ...]
    vocabulary: tuple[str, ...] = ()
    columns: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def image_folder(folder: str | Path, size: int, test_share: float = 0.2) -> Labelled:
    """Read a folder of folders of images, one for each class, as uint8 (samples, 3, size, size).

    It takes what torchvision's ImageFolder takes: the same extensions and `.gif`, subfolders of a class,
    classes in the order of their names, pixels as `convert("RGB")` makes them. Unlike there, images are
    turned as their EXIF orientation says, 16-bit grey keeps its high byte, and hidden files and folders are
    left out. What is left out is warned of and stands in `data.notes`.

    The split is by a hash of each file's path within the folder: it stays as files are added. Of what is not
    for the test the same share is for validation. Raises DataError where there are no two classes, a class
    has no image, or a file cannot be read.
    """
    _check(size=size, test_share=test_share)
    root = Path(folder)
    found = find_images(root)
    pixels = np.stack([read_pixels(path, size) for path in found.paths])
    parts = _parts([path.relative_to(root).as_posix() for path in found.paths], test_share)
    classes = tuple(sorted(set(found.classes)))
    inputs = torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous()
    return Labelled(_split(root, inputs, found.classes, classes, parts, found.left_out), classes)


def text_table(
    file: str | Path,
    length: int,
    *,
    text: str = "text",
    label: str = "label",
    columns: Sequence[str] = (),
    words: int = 10_000,
    test_share: float = 0.2,
    separator: str | None = None,
    encoding: str = "utf-8",
) -> Labelled:
    """Read labelled texts from a CSV or TSV file with a head line, or from JSONL, as int64 (samples, length).

    CSV is read as pandas reads it. Rows without a text or a label are left out, which is warned of and stands
    in `data.notes`. Labels are kept as they are written; classes are in the order of their numbers where all
    are numbers, else of their texts. `columns` are further ones, as region or season, whose groups are
    compared; a row without a value there is of the group "". `separator` is the one that the head line has
    all columns with, unless it is given; a byte order mark goes before `encoding`.

    Words are those of the training texts, the most frequent `words` of them; the split is by a hash of the
    text, so that equal texts are in one part. Of what is not for the test the same share is for validation.
    Raises DataError where a column is missing or there are no two classes.
    """
    _check(length=length, words=words, test_share=test_share)
    path = Path(file)
    rows = read_texts(path, text, label, separator, encoding, tuple(columns))
    parts = _parts(rows.texts, test_share)
    training = [content for content, part in zip(rows.texts, parts, strict=True) if part == TRAINING]
    numbers = vocabulary(training, words + RESERVED)
    inputs = torch.as_tensor(encode(rows.texts, numbers, length)).to(torch.int64)
    class_of = numbered(rows.labels)
    classes = tuple(dict.fromkeys(class_of.values()))
    if len(classes) < 2:
        held = f"only the label {classes[0]!r}" if classes else "no label"
        raise DataError(f"{path}: column {label!r} has {held}; classification requires two")
    names = [class_of[name] for name in rows.labels]
    data = _split(path, inputs, names, classes, parts, rows.left_out)
    of_test = {
        name: tuple(value for value, part in zip(values, parts, strict=True) if part == TEST)
        for name, values in rows.further.items()
    }
    return Labelled(data, classes, ("", "?", *numbers), of_test)


def _check(test_share: float, **sizes: int) -> None:
    for name, value in sizes.items():
        if not isinstance(value, int) or value < 1:
            raise DataError(f"{name} must be an integer of at least 1, got {value!r}")
    if not 0 < test_share < 1:
        raise DataError(f"test_share must be between 0 and 1, got {test_share!r}")


def _parts(texts: Sequence[str], test_share: float) -> list[int]:
    """Return the part of each sample by its text; without training samples, none is for validation."""
    parts = [_part(text, test_share) for text in texts]
    return parts if TRAINING in parts else [TRAINING if part == VALIDATION else part for part in parts]


def _part(text: str, test_share: float) -> int:
    # Names of files, and texts of JSON, may hold half of a pair.
    place = int(sha256(text.encode(errors="surrogatepass")).hexdigest()[:8], 16) / 2**32
    if place < test_share:
        return TEST
    return VALIDATION if place < test_share + test_share * (1 - test_share) else TRAINING


def _split(
    source: Path,
    inputs: torch.Tensor,
    names: Sequence[str],
    classes: Sequence[str],
    parts: Sequence[int],
    left_out: Sequence[str],
) -> Data:
    number = {name: position for position, name in enumerate(classes)}
    targets = torch.tensor([number[name] for name in names])
    part = torch.tensor(parts)
    training, validation, test = (part == which for which in (TRAINING, VALIDATION, TEST))
    if not training.any() or not test.any():
        raise DataError(f"{source}: {len(part)} samples are too few to split into training and test")
    notes = [
        *left_out,
        *_lacking(classes, targets[training], "training"),
        *_lacking(classes, targets[test], "test"),
    ]
    if notes:
        warnings.warn(one_line(f"{source}: {'; '.join(notes)}"), stacklevel=3)
    held = Samples(inputs[validation], targets[validation]) if validation.any() else None
    return Data(
        *(inputs[training], targets[training]),
        *(inputs[test], targets[test]),
        validation=held,
        notes=tuple(notes),
    )


def _lacking(classes: Sequence[str], targets: torch.Tensor, part: str) -> list[str]:
    there = set(targets.tolist())
    names = [name for number, name in enumerate(classes) if number not in there]
    shown = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
    return [f"the {part} set has no sample of {shown}"] if names else []
