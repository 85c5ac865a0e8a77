"""Energy by hardware counters: RAPL for the CPU's packages, NVML's for a GPU. Never sampled power.

Both are read by hand, a file each or one call: no library that was looked at tells a reset from a wrap.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from bench.instruments.nvml import current_board, open_nvml
from bench.records import Measurement

POWERCAP = Path("/sys/class/powercap")

WINDOW_S = 1.0
"""Seconds that calls are repeated for: counters step about each millisecond (RAPL) to 100 ms (NVML)."""

MAX_W = 2000.0
"""Watts that no package draws: a counter that rose faster was reset and did not wrap."""


class EnergyCounter(Protocol):
    """Counts joules between `start` and `joules`; `reason` says why where it cannot."""

    method: str
    reason: str

    def start(self) -> None:
        """Remember the counter, or set `reason` where it cannot be read."""
        ...

    def joules(self) -> float | None:
        """Return the joules since `start`, or None where unknown."""
        ...


def measure_energy(
    call: Callable[[], object],
    synchronize: Callable[[], None],
    device: str,
    *,
    window_s: float = WINDOW_S,
    counter: EnergyCounter | None = None,
) -> Measurement:
    """Repeat a call for at least `window_s` and measure the joules of one, in a pass of its own.

    None with the reason where no counter counts; then nothing is called.
    """
    counter = counter or energy_counter(device)
    counter.start()
    if counter.reason:
        return Measurement("energy_j", None, method=counter.method, reason=counter.reason)
    calls, began = 0, time.perf_counter()
    while not calls or time.perf_counter() - began < window_s:
        call()
        synchronize()
        calls += 1
    seconds = time.perf_counter() - began
    joules = counter.joules()
    value = None if joules is None else joules / calls
    return Measurement(
        "energy_j", value, n=calls, method=f"{counter.method} over {seconds:.1f} s", reason=counter.reason
    )


def energy_counter(device: str) -> EnergyCounter:
    """Return the counter of a device; where there is none, one that gives the reason."""
    if device == "cpu":
        return RaplCounter()
    return NvmlCounter() if device == "cuda" else NoCounter(f"no energy counter is known for {device}")


class NoCounter:
    """A counter that counts nothing, where there is none."""

    method = ""

    def __init__(self, reason: str) -> None:
        self.reason = reason

    def start(self) -> None:
        """Do nothing."""

    def joules(self) -> float | None:
        """Return None: nothing counts."""
        return None


class RaplCounter:
    """Counts the joules of all CPU packages between `start` and `joules`.

    Left out: `psys`, the whole platform with its packages, and intel-rapl-mmio, which shows the same package
    a second time. One wrap is mended (262 kJ on many CPUs, 20 minutes of 200 W); two are not seen.
    """

    method = "RAPL"

    def __init__(self, root: Path = POWERCAP) -> None:
        self.reason = ""
        zones = [zone for zone in root.glob("intel-rapl:*") if zone.name.count(":") == 1]
        self._domains = sorted(zone for zone in zones if _is_package(zone))
        self._before: dict[Path, int] = {}
        self._began = time.perf_counter()
        if not self._domains:
            self.reason = "this machine shows no RAPL energy counter"

    def start(self) -> None:
        """Remember the counters; a counter that may not be read makes the energy unknown."""
        self._began = time.perf_counter()
        try:
            self._before = {domain: _read(domain / "energy_uj") for domain in self._domains}
        except OSError as error:
            self._domains = []
            self.reason = f"RAPL cannot be read ({error.strerror}); it needs root"

    def joules(self) -> float | None:
        """Return the joules since `start`, or None where unknown; a counter that wrapped is corrected."""
        if not self._before or not self._domains:
            return None
        most_uj = 1e6 * MAX_W * max(time.perf_counter() - self._began, 0.001)
        total = 0
        for domain, before in self._before.items():
            used = _read(domain / "energy_uj") - before
            if used < 0:
                used += _read(domain / "max_energy_range_uj")
                if used > most_uj:
                    self.reason = "RAPL's counter was reset meanwhile"
                    return None
            total += used
        if total == 0:
            self.reason = "RAPL's counter did not move: the pass is shorter than its period of about 1 ms"
            return None
        return total / 1e6


class NvmlCounter:
    """Counts the joules of PyTorch's current CUDA device between `start` and `joules`."""

    method = "NVML's energy counter"

    def __init__(self) -> None:
        self.reason = ""
        self._pynvml: Any = None
        self._handle: Any = None
        self._before_mj = 0.0

    def start(self) -> None:
        """Open NVML and remember the counter; what does not answer makes the energy unknown."""
        try:
            import torch

            self._pynvml = open_nvml()
            self._handle = current_board(self._pynvml)
            torch.cuda.synchronize()
            self._before_mj = float(self._pynvml.nvmlDeviceGetTotalEnergyConsumption(self._handle))
        except Exception as error:  # no library, no driver, or a board that has no counter
            self.reason = f"NVML: {error}"

    def joules(self) -> float | None:
        """Return the joules since `start`, or None where unknown."""
        if self.reason:
            return None
        try:
            used = float(self._pynvml.nvmlDeviceGetTotalEnergyConsumption(self._handle)) - self._before_mj
        except self._pynvml.NVMLError as error:
            self.reason = f"NVML: {error}"
            return None
        finally:
            self._pynvml.nvmlShutdown()
        if used <= 0:
            what = "did not move: the pass is too short for it" if used == 0 else "was reset meanwhile"
            self.reason = f"NVML's energy counter {what}"
            return None
        return used / 1e3


def _is_package(zone: Path) -> bool:
    try:
        return (zone / "name").read_text().startswith("package")
    except OSError:
        return True


def _read(path: Path) -> int:
    return int(path.read_text())
