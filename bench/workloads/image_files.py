"""Folders of images as torchvision's ImageFolder takes them: a folder for each class, and what is in it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bench.errors import DataError
from bench.metrics import counted

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

EXTENSIONS = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp", ".gif")
"""Those of ImageFolder, and `.gif`, of which the first frame is read; in any case."""

_FORMATS = ("JPEG", "PNG", "PPM", "BMP", "TIFF", "WEBP", "GIF")
_NO_CLASSES = ("__MACOSX", "__pycache__", "@eaDir", "$RECYCLE.BIN", "lost+found")
_SPLITS = {"train", "training", "val", "valid", "validation", "test", "testing"}
_NAMED = 3


@dataclass(frozen=True)
class ImageFiles:
    """The images below a folder in the order of their paths, the class of each, and what was left out."""

    paths: tuple[Path, ...]
    classes: tuple[str, ...]
    left_out: tuple[str, ...]


def find_images(root: Path) -> ImageFiles:
    """Find the images of each class, in subfolders of its folder too, links followed as ImageFolder does.

    Hidden folders and files, which editors and systems leave, are neither classes nor samples. Raises
    DataError for a folder that is missing, has no classes, or has a class without an image.
    """
    folders, hidden = _class_folders(root)
    found: list[tuple[Path, str]] = []
    others: list[str] = []
    for folder in folders:
        images = _images_below(root, folder, hidden, others)
        if not images:
            raise DataError(
                f"{root}: class {folder.name!r} has no image ({', '.join(EXTENSIONS)}); remove its folder or "
                "put images there"
            )
        found += [(path, folder.name) for path in images]
    left_out = [
        _listed(hidden, "hidden entry", "hidden entries"),
        _listed(others, "file", "files", "no image"),
    ]
    return ImageFiles(
        tuple(path for path, _ in found), tuple(name for _, name in found), tuple(filter(None, left_out))
    )


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
        kind = "32-bit or signed whole numbers" if image.mode == "I" else "floating-point numbers"
        raise ValueError(f"its pixels are {kind}, whose range is unknown; save 8 or 16 bits a channel")
    return image


def _colours(image: Picture) -> Picture:
    # A palette with transparency must go through RGBA, as Pillow warns.
    return (image.convert("RGBA") if "transparency" in image.info else image).convert("RGB")


def _class_folders(root: Path) -> tuple[list[Path], list[str]]:
    try:
        folders = sorted(path for path in root.iterdir() if path.is_dir())
    except OSError as error:
        raise DataError(f"{root}: cannot be read as a folder of images: {error.strerror}") from None
    classes = [path for path in folders if not _is_hidden(path.name)]
    if len(classes) < 2:
        raise DataError(
            f"{root}: {counted(len(classes), 'folder')} found, a classification needs one for each of two "
            "classes or more, with images in it"
        )
    if all(_is_split(path) for path in classes):
        names = ", ".join(path.name for path in classes)
        raise DataError(f"{root}: has the folders {names}, splits and no classes; give {classes[0]} instead")
    return classes, [f"{path.name}/" for path in folders if _is_hidden(path.name)]


def _is_split(folder: Path) -> bool:
    return folder.name.lower() in _SPLITS and any(
        path.is_dir() and not _is_hidden(path.name) for path in folder.iterdir()
    )


def _images_below(root: Path, folder: Path, hidden: list[str], others: list[str]) -> list[Path]:
    images: list[Path] = []
    seen: set[str] = set()
    for place, folders, names in os.walk(folder, followlinks=True):
        seen.add(os.path.realpath(place))
        inside = Path(place)
        relative = inside.relative_to(root)
        hidden += [f"{relative / name}/" for name in sorted(folders) if _is_hidden(name)]
        # A link back to a folder above would be followed for ever.
        folders[:] = sorted(
            name for name in folders if not _is_hidden(name) and os.path.realpath(inside / name) not in seen
        )
        for name in names:
            if _is_hidden(name):
                hidden.append(str(relative / name))
            elif name.lower().endswith(EXTENSIONS):
                images.append(inside / name)
            else:
                others.append(str(relative / name))
    return sorted(images)


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name in _NO_CLASSES


def _listed(entries: Sequence[str], one: str, several: str, why: str = "") -> str:
    """Return `2 files left out, no image by extension: a.db, b.txt`, or nothing of nothing."""
    if not entries:
        return ""
    names = ", ".join(sorted(entries)[:_NAMED]) + (", ..." if len(entries) > _NAMED else "")
    because = f", {why} by extension" if why else ""
    return f"{len(entries):,} {one if len(entries) == 1 else several} left out{because}: {names}"
