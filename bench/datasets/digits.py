"""The 1,797 handwritten digits that are bundled with scikit-learn, as a fixed split of 1,437 to 360.

The split is stratified; both halves keep the file's order.
"""

from __future__ import annotations

from bench.datasets import Images
from bench.datasets.sklearn_bundled import BundledFile, stratified_test_mask

FILE = BundledFile(
    "digits", "digits.csv.gz", "6ebb3d2fee246a4e99363262ddf8a00a3c41bee6014c373ed9d9216ba7f651b8"
)
TEST_IMAGES = 360
SPLIT_SEED = 0

locate = FILE.locate
fetch = FILE.fetch


def load() -> Images:
    """Return the digits, values 0 to 16; raises DataError where the file is not there or is another."""
    import numpy as np

    content = FILE.read(locate())
    table = np.loadtxt(content.decode().splitlines(), delimiter=",", dtype=np.int64)
    images = table[:, :-1].astype(np.uint8).reshape(-1, 8, 8)
    labels = table[:, -1].copy()
    test = stratified_test_mask(labels, TEST_IMAGES, SPLIT_SEED)
    return Images(images[~test], labels[~test], images[test], labels[test])
