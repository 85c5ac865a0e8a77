"""Scenes with known objects: clothes of Fashion-MNIST, tinted, on crops of photographs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from bench import datasets
from bench.datasets.prepared import prepared

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]
    Bytes = NDArray[np.uint8]

SIDE = 96
"""Pixels of a scene's side."""

TRAIN_SCENES, TEST_SCENES = 3000, 400
VALIDATION_ITEMS = 6000
"""The last items for training are for validation instead."""
MAX_OBJECTS = 4
OBJECT_SIDES = (24, 44)
"""Least and most pixels of the square that an item's picture is scaled to; no item fills all of it."""

_CROP_SIDES = (96, 256)
_MAX_OVERLAP = 0.1
_TRIES = 20
_VISIBLE = 0.25
"""Opacity from which a pixel belongs to the object, and to its box."""


def load() -> Mapping[str, NDArray[np.generic]]:
    """Return the images of `train_inputs` and the objects of `train_targets`, as `compose` makes them.

    And the same of `validation` and `test`. No item and no photograph is in scenes of two parts. Raises
    DataError where the data sets are not here.
    """
    return prepared("photographs", __file__, _make)


def _make() -> Mapping[str, NDArray[np.generic]]:
    clothes = datasets.load("fashion-mnist")
    photographs = datasets.load("photographs")
    images, labels, last = clothes.train_images, clothes.train_labels, -VALIDATION_ITEMS
    parts = {
        "train": (images[:last], labels[:last], photographs.train, TRAIN_SCENES),
        "test": (clothes.test_images, clothes.test_labels, photographs.test, TEST_SCENES),
        "validation": (images[last:], labels[last:], photographs.validation, TEST_SCENES),
    }
    arrays: dict[str, NDArray[np.generic]] = {}
    for seed, (part, (items, classes, pictures, count)) in enumerate(parts.items()):
        scenes, objects = compose(items, classes, tuple(pictures.values()), count, seed)
        arrays |= {f"{part}_inputs": scenes, f"{part}_targets": objects}
    return arrays


def compose(
    items: Bytes, labels: NDArray[np.int64], photographs: tuple[Bytes, ...], count: int, seed: int
) -> tuple[Bytes, Floats]:
    """Return scenes (count, 3, SIDE, SIDE) and their objects (count, MAX_OBJECTS, 5).

    An object is its class and its box, left, top, right, bottom in pixels; rows of -1 fill up. No item is
    used twice while there are others.
    """
    generator = np.random.default_rng(seed)
    order = generator.permutation(len(items))
    images = np.empty((count, 3, SIDE, SIDE), np.uint8)
    objects = np.full((count, MAX_OBJECTS, 5), -1, np.float32)
    used = 0
    for image, found in zip(images, objects, strict=True):
        scene = _background(photographs[generator.integers(len(photographs))], generator)
        wanted = int(generator.integers(1, MAX_OBJECTS + 1))
        for row, (left, top, side) in enumerate(_places(wanted, generator)):
            item = order[used % len(order)]
            used += 1
            box = _paste(scene, items[item], left, top, side, generator)
            found[row] = (labels[item], *box)
        image[:] = np.round(scene).clip(0, 255).transpose(2, 0, 1)
    return images, objects


def _background(photograph: Bytes, generator: np.random.Generator) -> Floats:
    """Return a square of a photograph, perhaps mirrored, as float32 of shape (SIDE, SIDE, 3)."""
    height, width = photograph.shape[:2]
    side = int(generator.integers(_CROP_SIDES[0], _CROP_SIDES[1] + 1))
    top, left = generator.integers(height - side + 1), generator.integers(width - side + 1)
    crop = Image.fromarray(photograph[top : top + side, left : left + side])
    scaled = np.asarray(crop.resize((SIDE, SIDE), Image.Resampling.BILINEAR), np.float32)
    return (scaled[:, ::-1] if generator.integers(2) else scaled).copy()


def _places(wanted: int, generator: np.random.Generator) -> list[tuple[int, int, int]]:
    """Return left, top and side of up to `wanted` squares that overlap little; one at least."""
    places: list[tuple[int, int, int]] = []
    for _ in range(_TRIES):
        side = int(generator.integers(OBJECT_SIDES[0], OBJECT_SIDES[1] + 1))
        left, top = (int(place) for place in generator.integers(SIDE - side + 1, size=2))
        square = (left, top, side)
        if all(_overlap(square, other) <= _MAX_OVERLAP for other in places):
            places.append(square)
        if len(places) == wanted:
            break
    return places


def _overlap(one: tuple[int, int, int], other: tuple[int, int, int]) -> float:
    """Return the share of the smaller of two squares that the other covers."""
    sides = [
        max(0, min(one[axis] + one[2], other[axis] + other[2]) - max(one[axis], other[axis]))
        for axis in (0, 1)
    ]
    return sides[0] * sides[1] / min(one[2], other[2]) ** 2


def _paste(
    scene: Floats, item: Bytes, left: int, top: int, side: int, generator: np.random.Generator
) -> tuple[int, int, int, int]:
    """Draw an item into a scene, opaque where it is bright and of one tint; return the box of it."""
    scaled = Image.fromarray(item).resize((side, side), Image.Resampling.BILINEAR)
    intensity = np.asarray(scaled, np.float32)[:, :, None] / 255
    opacity = np.minimum(1, 3 * intensity)
    tint = generator.uniform(64, 255, size=3).astype(np.float32)
    region = scene[top : top + side, left : left + side]
    region += opacity * (tint * intensity - region)
    rows, columns = (np.flatnonzero((opacity[:, :, 0] > _VISIBLE).any(axis=axis)) for axis in (1, 0))
    return (
        *(int(left + columns[0]), int(top + rows[0])),
        *(int(left + columns[-1] + 1), int(top + rows[-1] + 1)),
    )
