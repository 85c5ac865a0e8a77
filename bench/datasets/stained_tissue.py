"""A micrograph of glands of the colon, from inside PyPI's scikit-image 0.26.0.

The protein FHL2 is stained brown by DAB, nuclei are stained blue by haematoxylin. Taken at the Center for
Microscopy and Molecular Imaging (CMMI); no known copyright restrictions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.datasets.packaged import Package, PackagedSet

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_FILE = "skimage/data/ihc.png"

SET = PackagedSet(
    "stained-tissue",
    (Package("PyPI", "scikit-image", (_FILE,), "0.26.0"),),
    content_sha256="b17dea6c6680d2d153ca0281f2278273353113dbc81b9bd7a79efd692322eaaa",
)
locate = SET.locate
fetch = SET.fetch


def load() -> NDArray[np.uint8]:
    """Return the image, (512, 512, 3); raises DataError where it is not here."""
    import numpy as np
    from PIL import Image

    with Image.open(SET.here() / _FILE) as file:
        return np.asarray(file.convert("RGB"))
