"""Photographs of things, people, animals and grounds, from inside PyPI's scikit-image 0.26.0.

Some are held out for the test, of each kind: with and without colour, objects and textures; and some for
validation.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.datasets.packaged import Package, PackagedSet

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Pictures = Mapping[str, NDArray[np.uint8]]

TRAIN = (
    *("astronaut.png", "brick.png", "camera.png", "coins.png"),
    *("ihc.png", "motorcycle_left.png", "rocket.jpg"),
)
VALIDATION = ("coffee.png", "grass.png")
TEST = ("chelsea.png", "clock_motion.png", "gravel.png", "hubble_deep_field.jpg")

_FOLDER = "skimage/data"
_FILES = TRAIN + VALIDATION + TEST

SET = PackagedSet(
    "photographs",
    (Package("PyPI", "scikit-image", tuple(f"{_FOLDER}/{name}" for name in _FILES), "0.26.0"),),
    content_sha256="7411ca3886a531dc12a3733a95c24c493023b50af5c809d60cbe7a21a1560ddd",
)
locate = SET.locate
fetch = SET.fetch


@dataclass(frozen=True)
class Photographs:
    """Photographs by file name, each uint8 of shape (height, width, 3), 300 pixels or more on a side.

    Grey ones have three equal channels.
    """

    train: Pictures
    validation: Pictures
    test: Pictures


def load() -> Photographs:
    """Return the photographs; raises DataError where they are not here."""
    return Photographs(_read(TRAIN), _read(VALIDATION), _read(TEST))


def _read(names: tuple[str, ...]) -> Pictures:
    import numpy as np
    from PIL import Image

    folder = SET.here() / _FOLDER
    pictures = {}
    for name in names:
        with Image.open(folder / name) as file:
            pictures[name] = np.asarray(file.convert("RGB"))
    return pictures
