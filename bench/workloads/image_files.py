"""Folders of images as torchvision's ImageFolder takes them: a folder for each class, and what is in it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bench.errors import DataError
from bench.formatting import counted

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

EXTENSIONS = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp", ".gif")
"""Those of ImageFolder, and `.gif`, of which the first frame is read; in any case."""

_FORMATS = ("JPEG", "PNG", "PPM", "BMP", "TIFF", "WEBP", "GIF")
_NO_CLASSES = (
    *("__macosx", "__pycache__", "@eadir", "$recycle.bin", "recycler", "lost+found"),
    *("system volume information", "thumbs.db", "desktop.ini"),
)
_TRAINING = ("train", "training")
_OTHER_SPLITS = (
    *("val", "valid", "validate", "validation", "dev", "develop", "development"),
    *("test", "testing", "eval", "evaluation", "holdout", "hold-out", "hold_out"),
)
_NAMED = 3


@dataclass(frozen=True)
class ImageFiles:
    """The images below a folder in the order of their paths, the class of each, and what was left out."""

    paths: tuple[Path, ...]
    classes: tuple[str, ...]
    left_out: tuple[str, ...]


@dataclass
class _LeftOut:
    """What is neither a class nor a sample, by its path within the folder."""

    hidden: list[str] = field(default_factory=list)
    others: list[str] = field(default_factory=list)
    links: list[str] = field(default_factory=list)
    stray: list[str] = field(default_factory=list)

    def notes(self) -> tuple[str, ...]:
        notes = (
            _listed(self.hidden, "hidden entry", "hidden entries"),
            _listed(self.others, "file", "files", "no image by extension"),
            _listed(self.links, "link", "links", "back to a folder above"),
            _listed(self.stray, "image", "images", "in no folder of a class"),
        )
        return tuple(filter(None, notes))


def find_images(root: Path) -> ImageFiles:
    """Find the images of each class, in subfolders of its folder too, links followed as ImageFolder does.

    Hidden folders and files, which editors and systems leave, are neither classes nor samples, nor are images
    beside the folders and links back to a folder above. Raises
    DataError for a folder that is missing, has no classes, or has a class without an image.
    """
    left = _LeftOut()
    found: list[tuple[Path, str]] = []
    for folder in _class_folders(root, left):
        images = _images_below(root, folder, left)
        if not images:
            raise DataError(
                f"{root}: class {folder.name!r} has no image ({', '.join(EXTENSIONS)}); remove its folder or "
                "put images there"
            )
        found += [(path, folder.name) for path in images]
    return ImageFiles(tuple(path for path, _ in found), tuple(name for _, name in found), left.notes())


def read_pixels(path: Path, size: int) -> np.ndarray:
    """Return an image as uint8 (size, size, 3), upright as its EXIF orientation says.

    16-bit grey keeps its high byte, as 16-bit colour does; other modes become RGB as Pillow converts them,
    alpha dropped. Raises DataError with the file's name where it cannot be read.
    """
    from PIL import Image, ImageOps

    if not path.is_file():
        raise DataError(f"{path}: no such file" if not path.exists() else f"{path}: is not a file")
    try:
        # By its content Pillow would take an .png for EPS too, and run Ghostscript on it.
        with Image.open(path, formats=_FORMATS) as image:
            upright = ImageOps.exif_transpose(_eight_bits(image))
            return np.asarray(_colours(upright).resize((size, size)))
    except Exception as error:  # whatever the many decoders raise
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise DataError(f"{path}: cannot be read as an image: {reason}") from None


def _eight_bits(image: Picture) -> Picture:
    from PIL import Image

    # Pillow gives a grey PGM of more than 8 bits as 32-bit numbers, stretched to 16 bits.
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PPM"):
        eight = Image.fromarray((np.asarray(image).astype(np.uint32) >> 8).astype(np.uint8))
        eight.info.update(image.info)
        eight.getexif().update(image.getexif())
        return eight
    if image.mode in ("I", "F"):
        kind = "32-bit or signed integers" if image.mode == "I" else "floating-point numbers"
        raise ValueError(f"its pixels are {kind}, whose range is unknown; save 8 or 16 bits a channel")
    return image


def _colours(image: Picture) -> Picture:
    # A palette with transparency must go through RGBA, as Pillow warns.
    return (image.convert("RGBA") if "transparency" in image.info else image).convert("RGB")


def _class_folders(root: Path, left: _LeftOut) -> list[Path]:
    try:
        entries = sorted(root.iterdir())
    except OSError as error:
        raise DataError(f"{root}: cannot be read as a folder of images: {error.strerror}") from None
    folders = [path for path in entries if path.is_dir()]
    above = _with_parents(root)
    left.hidden += [f"{path.name}/" for path in folders if _is_hidden(path.name)]
    left.links += [path.name for path in folders if os.path.realpath(path) in above]
    left.stray += [path.name for path in entries if path.is_file() and _is_image(path.name)]
    out = {name.rstrip("/") for name in (*left.hidden, *left.links)}
    classes = [path for path in folders if path.name not in out]
    if len(classes) < 2:
        raise DataError(
            f"{root}: {counted(len(classes), 'folder')} found; classification requires two or more, one "
            "for each class, with images in it"
        )
    _refuse_splits(root, classes)
    return classes


def _refuse_splits(root: Path, folders: Sequence[Path]) -> None:
    """Raise DataError where the folders are splits of a data set, with or without what belongs to them."""
    splits = [path for path in folders if _is_split(path)]
    training = [path for path in splits if path.name.lower() in _TRAINING]
    beside = [path.name for path in folders if path not in splits]
    are_beside = training and len(splits) > 1 and not any(map(_has_class, set(folders) - set(splits)))
    if not splits or (beside and not are_beside):
        return
    names = ", ".join(path.name for path in splits)
    more = f" (left out: {', '.join(beside[:_NAMED])}, without images by class)" if beside else ""
    best = (training or splits)[0]
    raise DataError(
        f"{root}: has the folders {names}, which are splits, not classes{more}; give {best} instead"
    )


def _is_split(folder: Path) -> bool:
    return folder.name.lower() in (*_TRAINING, *_OTHER_SPLITS) and any(
        path.is_dir() and not _is_hidden(path.name) for path in folder.iterdir()
    )


def _has_class(folder: Path) -> bool:
    """Say whether a folder has folders with images in them."""
    return any(
        _is_image(name) and not _is_hidden(name)
        for place, _, names in os.walk(folder)
        for name in names
        if Path(place) != folder
    )


def _images_below(root: Path, folder: Path, left: _LeftOut) -> list[Path]:
    images: list[Path] = []
    seen = _with_parents(root)
    for place, folders, names in os.walk(folder, followlinks=True):
        seen.add(os.path.realpath(place))
        inside = Path(place)
        relative = inside.relative_to(root)
        left.hidden += [f"{relative / name}/" for name in sorted(folders) if _is_hidden(name)]
        # A link back to a folder above would be followed for ever, and has other classes' images.
        back = [name for name in folders if os.path.realpath(inside / name) in seen and not _is_hidden(name)]
        left.links += [str(relative / name) for name in back]
        folders[:] = sorted(name for name in folders if not _is_hidden(name) and name not in back)
        for name in names:
            if _is_hidden(name):
                left.hidden.append(str(relative / name))
            elif _is_image(name):
                images.append(inside / name)
            else:
                left.others.append(str(relative / name))
    return sorted(images)


def _with_parents(folder: Path) -> set[str]:
    real = Path(os.path.realpath(folder))
    return {str(real), *map(str, real.parents)}


def _is_image(name: str) -> bool:
    return name.lower().endswith(EXTENSIONS)


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name.lower() in _NO_CLASSES


def _listed(entries: Sequence[str], one: str, several: str, why: str = "") -> str:
    """Return `2 files left out, no image by extension: a.db, b.txt`, or nothing of nothing."""
    if not entries:
        return ""
    names = ", ".join(sorted(entries)[:_NAMED]) + (", ..." if len(entries) > _NAMED else "")
    because = f", {why}" if why else ""
    return f"{len(entries):,} {one if len(entries) == 1 else several} left out{because}: {names}"
