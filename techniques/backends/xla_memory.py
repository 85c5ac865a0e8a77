"""What XLA's allocator counts, asked as PyTorch's are."""

from __future__ import annotations

from typing import Any

import jax


class XlaAllocator:
    """The memory of JAX's first device of a platform. Its peaks are those since the process began."""

    def __init__(self, platform: str) -> None:
        self._device: Any = jax.devices(platform)[0]

    def synchronize(self) -> None:
        """Do nothing: a peak is counted as memory is set aside, before a program that needs it is started."""

    def reset_peak_memory_stats(self) -> None:
        """Do nothing: XLA's peaks cannot be reset."""

    def max_memory_allocated(self) -> int | None:
        """Return the most bytes in use at once, None where the device does not count."""
        return self._peak("peak_bytes_in_use")

    def max_memory_reserved(self) -> int | None:
        """Return the most bytes held at once, None where the device does not count."""
        return self._peak("peak_bytes_reserved")

    def _peak(self, name: str) -> int | None:
        counted: dict[str, int] | None = self._device.memory_stats()
        return None if counted is None else counted.get(name)
