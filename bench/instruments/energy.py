"""Energy by hardware counters: RAPL for the CPU's packages."""

from __future__ import annotations

from pathlib import Path

POWERCAP = Path("/sys/class/powercap")


class RaplCounter:
    """Counts the joules of all CPU packages between `start` and `joules`.

    Left out: `psys`, the whole platform with its packages, and intel-rapl-mmio, which shows the same package
    a second time. One wrap is mended (262 kJ on many CPUs, 20 minutes of 200 W); two are not seen.
    """

    def __init__(self, root: Path = POWERCAP) -> None:
        self.reason = ""
        zones = [zone for zone in root.glob("intel-rapl:*") if zone.name.count(":") == 1]
        self._domains = sorted(zone for zone in zones if _is_package(zone))
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
        if total == 0:
            self.reason = "RAPL's counter did not move: the pass is shorter than its period of about 1 ms"
            return None
        return total / 1e6


def _is_package(zone: Path) -> bool:
    try:
        return (zone / "name").read_text().startswith("package")
    except OSError:
        return True


def _read(path: Path) -> int:
    return int(path.read_text())
