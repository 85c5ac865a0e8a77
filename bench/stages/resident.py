"""Memory and make-up of a stage's processes: one, or a rank for each device."""

from __future__ import annotations

import math

import torch

from bench.formatting import counted
from bench.instruments.memory import PeakResident
from bench.records import Measurement
from bench.stages.settings import DevicesSettings
from techniques.parallel.ranks import Ranks


def resident_memory(resident: PeakResident, ranks: Ranks) -> list[Measurement]:
    """Measure the peak of resident memory and its growth; of several ranks that of each, and the largest.

    Every rank must call it.
    """
    if ranks.size == 1:
        return [
            Measurement(
                "peak_rss_bytes", resident.peak_bytes, method=resident.method, reason=resident.reason
            ),
            Measurement(
                "rss_growth_bytes", resident.growth_bytes, method=resident.method, reason=resident.reason
            ),
        ]
    peaks, growths = (_of_ranks(ranks, value) for value in (resident.peak_bytes, resident.growth_bytes))
    method = f"the largest of {ranks.size} ranks; {resident.method}"
    return [
        Measurement("peak_rss_bytes", _largest(peaks), n=ranks.size, method=method, reason=resident.reason),
        Measurement(
            "rss_growth_bytes", _largest(growths), n=ranks.size, method=method, reason=resident.reason
        ),
        *(
            Measurement("rank_peak_rss_bytes", peak, qualifier=f"rank {rank}", method=resident.method)
            for rank, peak in enumerate(peaks)
        ),
    ]


def make_up(settings: DevicesSettings, ranks: Ranks) -> list[Measurement]:
    """Say of a stage on several devices how many ranks it had, in which way, and what connected them."""
    if ranks.size == 1:
        return []
    threads = f", {counted(torch.get_num_threads(), 'thread')} each" if ranks.backend == "gloo" else ""
    return [
        Measurement("ranks", ranks.size, method=f"{settings.parallel.text} over {ranks.backend}{threads}")
    ]


def device_memory(device: torch.device, ranks: Ranks) -> list[Measurement]:
    """Measure what PyTorch's allocator held at most on each rank's GPU; nothing on the CPU."""
    if device.type == "cpu":
        return []
    peaks = ranks.gathered(float(torch.cuda.max_memory_allocated(device)))
    return [
        Measurement("rank_peak_device_bytes", peak, qualifier=f"rank {rank}", method="PyTorch's allocator")
        for rank, peak in enumerate(peaks)
    ]


def _of_ranks(ranks: Ranks, value: int | None) -> list[float | None]:
    found = ranks.gathered(math.nan if value is None else float(value))
    return [None if math.isnan(each) else each for each in found]


def _largest(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return max(known) if len(known) == len(values) else None
