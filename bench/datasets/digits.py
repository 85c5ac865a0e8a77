"""The 1,797 handwritten digits that are bundled with scikit-learn, as a fixed split of 1,437 to 360.

The split is stratified: class c has round(n_c * 360 / 1797) test images, the largest remainders rounded
up, chosen by `numpy.random.RandomState(SPLIT_SEED)`, whose stream NumPy has frozen. Both halves keep the
file's order. The file is read directly: importing scikit-learn would cost each worker 0.8 s and 120 MB.
"""

from __future__ import annotations

import gzip
import hashlib
import importlib.util
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from bench.datasets import Images
from bench.errors import DataError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

CONTENT_SHA256 = "6ebb3d2fee246a4e99363262ddf8a00a3c41bee6014c373ed9d9216ba7f651b8"
TEST_IMAGES = 360
SPLIT_SEED = 0
WAYS = "install it with `pip install scikit-learn`, which bundles digits.csv.gz"


def locate() -> Path | None:
    """Return scikit-learn's bundled file, or None; imports nothing."""
    package = importlib.util.find_spec("sklearn")
    for folder in (package.submodule_search_locations or []) if package else []:
        path = Path(folder) / "datasets" / "data" / "digits.csv.gz"
        if path.is_file():
            return path
    return None


def fetch(say: Callable[[str], None]) -> Path:
    """Return scikit-learn's bundled file; there is nothing to download."""
    path = locate()
    if path is None:
        raise DataError(f"digits is not here; {WAYS}")
    _content(path)
    say(f"digits is in {path}")
    return path


def load() -> Images:
    """Return the digits, values 0 to 16; raises DataError where the file is not there or is another."""
    import numpy as np

    path = locate()
    if path is None:
        raise DataError(f"digits is not here; {WAYS}")
    table = np.loadtxt(_content(path).decode().splitlines(), delimiter=",", dtype=np.int64)
    images = table[:, :-1].astype(np.uint8).reshape(-1, 8, 8)
    labels = table[:, -1].copy()
    test = _test_mask(labels)
    return Images(images[~test], labels[~test], images[test], labels[test])


def _test_mask(labels: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return which images are test images."""
    import numpy as np

    quotas = np.bincount(labels) * TEST_IMAGES / len(labels)
    counts = quotas.astype(np.int64)
    remainders = np.argsort(counts - quotas, kind="stable")
    counts[remainders[: TEST_IMAGES - counts.sum()]] += 1
    random = np.random.RandomState(SPLIT_SEED)
    test = np.zeros(len(labels), dtype=np.bool_)
    for label, count in enumerate(counts):
        test[random.permutation(np.flatnonzero(labels == label))[:count]] = True
    return test


def _content(path: Path) -> bytes:
    try:
        content = gzip.decompress(path.read_bytes())
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: cannot be read as gzip ({error}); {WAYS}") from None
    found = hashlib.sha256(content).hexdigest()
    if found != CONTENT_SHA256:
        raise DataError(f"{path}: its content has SHA-256 {found}, expected {CONTENT_SHA256}; {WAYS}")
    return content
