"""Files of bytes in the IDX format (Y. LeCun's MNIST page): a header with the shape, then the values."""

from __future__ import annotations

import gzip
import hashlib
import math
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bench.errors import DataError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True)
class IdxFile:
    """A file whose content is known, stored as `name` or as `name.gz`; the hash is of it unpacked."""

    name: str
    shape: tuple[int, ...]
    sha256: str

    @property
    def header_bytes(self) -> int:
        return 4 + 4 * len(self.shape)

    @property
    def size_bytes(self) -> int:
        """Size unpacked."""
        return self.header_bytes + math.prod(self.shape)

    def within(self, folder: Path) -> Path | None:
        """Return where the file lies in a folder, unpacked if there is a choice; None where it does not."""
        paths = (folder / self.name, folder / f"{self.name}.gz")
        return next((path for path in paths if path.is_file()), None)

    def read(self, path: Path) -> bytearray:
        """Return the content unpacked; raises DataError where it is not what it should be."""
        try:
            with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as stream:
                content = bytearray(stream.read(self.size_bytes + 1))
        except (OSError, EOFError, zlib.error) as error:
            raise DataError(f"{path}: cannot be read: {error}") from None
        if len(content) != self.size_bytes:
            size = f"{len(content):,}" if len(content) < self.size_bytes else f"more than {self.size_bytes:,}"
            raise DataError(f"{path}: holds {size} bytes unpacked, expected {self.size_bytes:,}")
        found = hashlib.sha256(content).hexdigest()
        if found != self.sha256:
            raise DataError(f"{path}: its content has SHA-256 {found}, expected {self.sha256}")
        return content

    def array(self, content: bytearray) -> NDArray[np.uint8]:
        """Return the values of a content that is right, without a copy, writable."""
        import numpy as np

        return np.frombuffer(content, dtype=np.uint8, offset=self.header_bytes).reshape(self.shape)
