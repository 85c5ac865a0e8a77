"""Files that are bundled with scikit-learn.

They are read directly: importing scikit-learn would cost each worker 0.8 s and 120 MB.
"""

from __future__ import annotations

import gzip
import hashlib
import importlib.util
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bench.errors import DataError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Table:
    """Features as float64 of shape (n, features), one answer each of shape (n,): a number or a class."""

    train_features: NDArray[np.float64]
    train_answers: NDArray[np.float64] | NDArray[np.int64]
    test_features: NDArray[np.float64]
    test_answers: NDArray[np.float64] | NDArray[np.int64]


@dataclass(frozen=True)
class BundledFile:
    """A file of a data set, plain or gzip; `content_sha256` is that of its content, unpacked."""

    data_set: str
    name: str
    content_sha256: str

    @property
    def ways(self) -> str:
        """Say how to get the file."""
        return f"install it with `pip install scikit-learn`, which bundles {self.name}"

    def locate(self) -> Path | None:
        """Return where the file is, or None; imports nothing."""
        package = importlib.util.find_spec("sklearn")
        for folder in (package.submodule_search_locations or []) if package else []:
            path = Path(folder) / "datasets" / "data" / self.name
            if path.is_file():
                return path
        return None

    def fetch(self, say: Callable[[str], None]) -> Path:
        """Return where the file is, checked; there is nothing to download."""
        path = self._here(self.locate())
        self.read(path)
        say(f"{self.data_set} is in {path}")
        return path

    def read(self, path: Path | None) -> bytes:
        """Return the content of the file, located at `path`; raises DataError where it is none or another."""
        path = self._here(path)
        try:
            content = path.read_bytes()
            content = gzip.decompress(content) if path.suffix == ".gz" else content
        except (OSError, EOFError, zlib.error) as error:
            kind = "as gzip " if path.suffix == ".gz" else ""
            raise DataError(f"{path}: cannot be read {kind}({error}); {self.ways}") from None
        found = hashlib.sha256(content).hexdigest()
        if found != self.content_sha256:
            raise DataError(
                f"{path}: its content has SHA-256 {found}, expected {self.content_sha256}; {self.ways}"
            )
        return content

    def _here(self, path: Path | None) -> Path:
        if path is None:
            raise DataError(f"{self.data_set} is not installed; {self.ways}")
        return path


def stratified_test_mask(labels: NDArray[np.int64], test_samples: int, seed: int) -> NDArray[np.bool_]:
    """Return which samples are test samples, shape (n,).

    Class c has round(n_c * test_samples / n) of them, the largest remainders rounded up, chosen by
    `numpy.random.RandomState(seed)`, whose stream NumPy has frozen.
    """
    import numpy as np

    quotas = np.bincount(labels) * test_samples / len(labels)
    counts = quotas.astype(np.int64)
    remainders = np.argsort(counts - quotas, kind="stable")
    counts[remainders[: test_samples - counts.sum()]] += 1
    random = np.random.RandomState(seed)
    test = np.zeros(len(labels), dtype=np.bool_)
    for label, count in enumerate(counts):
        test[random.permutation(np.flatnonzero(labels == label))[:count]] = True
    return test
