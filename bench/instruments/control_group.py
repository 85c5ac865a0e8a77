"""The limits of this process's control group, in version 1 or 2 of the kernel's interface."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from bench.instruments.kernel_files import read_number, read_text

_MEMBERSHIP = Path("/proc/self/cgroup")
_ROOT = Path("/sys/fs/cgroup")


def memory_limit_bytes() -> int | None:
    """Return the least memory limit of this control group and those around it, or None."""
    limits = [
        read_number(folder / ("memory.max" if unified else "memory.limit_in_bytes"))
        for folder, unified in _groups("memory")
    ]
    # Version 1 writes "no limit" as the largest number of pages.
    return min((int(limit) for limit in limits if limit is not None and limit < 2**60), default=None)


def cpu_quota() -> float | None:
    """Return how many CPUs' worth of time this control group may use, or None where that is unlimited.

    A quota throttles in periods of 100 ms: 2 cores at a quota of 1 stand still half of the time.
    """
    quotas = [_quota(folder, unified) for folder, unified in _groups("cpu")]
    return min((quota for quota in quotas if quota is not None), default=None)


def _quota(folder: Path, unified: bool) -> float | None:
    if unified:
        quota, _, period = (read_text(folder / "cpu.max") or "max 100000").partition(" ")
    else:
        quota, period = (read_text(folder / f"cpu.cfs_{name}_us") or "" for name in ("quota", "period"))
    # "No quota" is `max` in version 2 and -1 in version 1.
    return int(quota) / int(period) if quota.isdigit() and period.isdigit() else None


def _groups(controller: str) -> Iterator[tuple[Path, bool]]:
    """Yield the folders of this process's group and those around it, and whether they are of version 2."""
    for line in (read_text(_MEMBERSHIP) or "").splitlines():
        _, controllers, place = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        root = _ROOT / controllers
        group = root / place.strip("/")
        for folder in (group, *group.parents):
            if folder.is_relative_to(root):
                yield folder, not controllers
