"""What a pass cost a GPU: allocator peaks, memory, power, utilization, and what held its clocks down."""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Callable
from statistics import mean
from types import TracebackType
from typing import Any

from bench.instruments.nvml import current_board, open_nvml
from bench.records import Measurement

SETTLING_S = 1.0
"""Seconds for which a pass is not sampled: NVML's power and utilization are means of about a second."""

WATCHED_S = 2.5
"""Seconds that a pass must last for its power and utilization to be its own."""

_PERIOD_S = 0.1
_TOO_SHORT = f"the pass ended within the {SETTLING_S:g} s that NVML's means take to settle"
_SAMPLED = ("gpu_power_w", "gpu_utilization", "gpu_clocks_held")
_BY_NVML = ("gpu_process_bytes", *_SAMPLED)


class GpuProbe:
    """Measures one pass, in a `with` block of its own: it samples beside the work, so nothing may be timed.

    Of accelerators that are not NVIDIA's it reads the allocator alone, PyTorch's or XLA's; of other devices
    nothing.
    """

    def __init__(self, device: str) -> None:
        self._device = device
        self._allocator: Any = None
        self._pynvml: Any = None
        self._handle: Any = None
        self._samples: dict[str, list[float]] = {name: [] for name in _SAMPLED}
        self._held_by: Counter[str] = Counter()
        self._peaks: dict[str, int | None] = {}
        self._reasons: dict[str, str] = {}
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> GpuProbe:
        if self._device == "cpu":
            return self
        from techniques.backends.accelerators import allocator

        self._allocator = allocator(self._device)
        if self._allocator is None:
            return self
        self._allocator.synchronize()
        self._allocator.reset_peak_memory_stats()
        self._open_nvml()
        if self._handle is not None:
            self._thread = threading.Thread(target=self._sample, args=(self._pynvml,), daemon=True)
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._allocator is None:
            return
        try:
            self._allocator.synchronize()
        finally:
            self._stop.set()
            if self._thread is not None:
                self._thread.join()
        for name, peak in (
            ("gpu_allocated_peak_bytes", self._allocator.max_memory_allocated()),
            ("gpu_reserved_peak_bytes", self._allocator.max_memory_reserved()),
        ):
            self._peaks[name] = peak
            self._reasons |= {} if peak is not None else {name: "the device's allocator does not count it"}
        if self._handle is None:
            return
        used = self._ask("gpu_process_bytes", lambda: _process_bytes(self._pynvml, self._handle))
        if used is not None:
            self._peaks["gpu_process_bytes"] = int(used)
        self._pynvml.nvmlShutdown()

    def measurements(self) -> tuple[Measurement, ...]:
        """Return what was measured; what the machine does not show is None, with the reason."""
        if self._allocator is None:
            return ()
        since = ", since the process began" if self._device == "tpu" else ""
        counted = f"{self._device.upper()} allocator{since}"
        peaks = [
            Measurement(name, self._peaks.get(name), method=method, reason=self._reasons.get(name, ""))
            for name, method in (
                ("gpu_allocated_peak_bytes", counted),
                ("gpu_reserved_peak_bytes", counted),
                ("gpu_process_bytes", "NVML"),
            )
        ]
        return (*peaks, *(self._sampled(name, values) for name, values in self._samples.items()))

    def _sampled(self, name: str, values: list[float]) -> Measurement:
        method = f"NVML, every {_PERIOD_S:g} s"
        if name == "gpu_clocks_held":
            method += "".join(f"; {reason} {count}×" for reason, count in self._held_by.most_common())
        reason = "" if values else self._reasons.get(name, _TOO_SHORT)
        return Measurement(
            name, mean(values) if values else None, n=len(values), method=method, reason=reason
        )

    def _open_nvml(self) -> None:
        if self._device != "cuda":
            self._reasons.update(dict.fromkeys(_BY_NVML, "NVML knows NVIDIA's GPUs only"))
            return
        try:
            self._pynvml = open_nvml()
            self._handle = current_board(self._pynvml)
        except Exception as error:  # no library, no driver, or a device that NVML does not name
            for metric in _BY_NVML:
                self._reasons[metric] = f"NVML: {error}"

    def _sample(self, pynvml: Any) -> None:
        wait_s = SETTLING_S
        while not self._stop.wait(wait_s):
            wait_s = _PERIOD_S
            for name, question in (
                ("gpu_power_w", lambda: pynvml.nvmlDeviceGetPowerUsage(self._handle) / 1e3),
                ("gpu_utilization", lambda: pynvml.nvmlDeviceGetUtilizationRates(self._handle).gpu / 100),
                ("gpu_clocks_held", lambda: self._held(pynvml)),
            ):
                answer = self._ask(name, question)
                self._samples[name] += [] if answer is None else [answer]

    def _held(self, pynvml: Any) -> float:
        reasons = _clock_reasons(pynvml, self._handle)
        self._held_by.update(reasons)
        return float(bool(reasons))

    def _ask(self, metric: str, question: Callable[[], float]) -> float | None:
        """Ask NVML; a query that this board or driver does not answer is a reason, not an error."""
        try:
            return question()
        except (self._pynvml.NVMLError, LookupError) as error:
            self._reasons[metric] = f"NVML: {error}"
            return None


def _clock_reasons(pynvml: Any, handle: Any) -> set[str]:
    """Return what holds a board's clocks down now, by NVML's names: `SwPowerCap`, `HwThermalSlowdown`, ..."""
    # By the older of its two names, which drivers before 535 know too.
    bits = int(pynvml.nvmlDeviceGetCurrentClocksThrottleReasons(handle))
    names = {  # one for each bit, of which some have several
        getattr(pynvml, name): name.removeprefix(_REASON) for name in dir(pynvml) if name.startswith(_REASON)
    }
    return {name for bit, name in names.items() if bit & bits and bit & (bit - 1) == 0 and name != "GpuIdle"}


_REASON = "nvmlClocksThrottleReason"


def _process_bytes(pynvml: Any, handle: Any) -> float:
    """Return the bytes that this process and those that it started hold; strangers' are left out."""
    import psutil

    ours = {os.getpid(), *(child.pid for child in psutil.Process().children(recursive=True))}
    found = [
        float(process.usedGpuMemory)
        for process in pynvml.nvmlDeviceGetComputeRunningProcesses(handle)
        if process.pid in ours and process.usedGpuMemory is not None
    ]
    if not found:
        # In a container NVML numbers processes as the host does.
        raise LookupError("shows no process of this number; it may count as the host does")
    return sum(found)
