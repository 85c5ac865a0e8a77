"""Energy by hardware counters: RAPL for the CPU's packages."""

from __future__ import annotations

from pathlib import Path

POWERCAP = Path("/sys/class/powercap")


class RaplCounter:
    """Counts the joules of all CPU packages between `start` and `joules`."""

    def __init__(self, root: Path = POWERCAP) -> None:
        self.reason = ""
        self._domains = sorted(root.glob("intel-rapl:[0-9]")) if root.is_dir() else []
        self._before: dict[Path, int] = {}
        if not self._domains:
            self.reason = "this machine shows no RAPL energy counter"

    def start(self) -> None:
        """Remember the counters; a counter that may not be read makes the energy unknown."""
        try:
            self._before = {domain: _read(domain / "energy_uj") for domain in self._domains}
        except OSError as error:
            self._domains = []
            self.reason = f"RAPL cannot be read ({error.strerror}); it needs root"

    def joules(self) -> float | None:
        """Return the joules since `start`, or None where unknown; a counter that wrapped is mended."""
        if not self._before or not self._domains:
            return None
        total = 0
        for domain, before in self._before.items():
            used = _read(domain / "energy_uj") - before
            total += used if used >= 0 else used + _read(domain / "max_energy_range_uj")
        return total / 1e6


def _read(path: Path) -> int:
    return int(path.read_text())
