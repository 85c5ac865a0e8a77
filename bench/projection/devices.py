"""Devices to plan for: what they are sold to do, hold and draw, by a short name.

Peak rates and bytes/s are those of `bench.analysis.peaks`. Watts and links are of the same data sheets; a
link's bytes/s are one direction, of all links of a device together. The network is what the maker's own
server gives each device: DGX-1 (4 x 100 Gb/s for 8), DGX A100 (8 x 200 Gb/s), DGX H100 and later (8 x 400).

Memory is what a process can have: the total capacity that PyTorch reports, the least that was seen in public
reports of errors. It is below a data sheet's: error correction takes 1/16 of GDDR6 (T4, A10, L4, A40, L40S),
the driver some of all. Of TPUs it is the data sheet's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from bench.analysis.peaks import nameplate
from bench.errors import BenchError
from techniques.registry import nearest

GIB = 2**30


@dataclass(frozen=True)
class Utilization:
    """The share of a peak rate that work of a kind reaches, from `low` to `high`, and who says so."""

    low: float
    high: float
    source: str


TRAINING = Utilization(
    0.213,
    0.57,
    "published of large models: 21.3 % (GPT-3, of the model's own operations, in Chowdhery et al. 2022, "
    "table 3) to 57 % (recomputed ones with them, Korthikanti et al. 2022, table 5)",
)
PREFILL = Utilization(0.43, 0.76, "usual for prompts: 43 to 76 % (Pope et al. 2022, table 2)")
DECODING = Utilization(
    0.55,
    0.72,
    "usual for one token at a time: 55 % (Databricks 2023, LLM Inference Performance Engineering) to 72 % "
    "(PyTorch 2023, gpt-fast) of the memory's bytes/s",
)


@dataclass(frozen=True)
class Device:
    """A device: operations/s by number format, bytes/s of its memory, its size in bytes, its watts.

    `link_bytes_per_s` is to the devices beside it, `server_devices` of them together, `network_bytes_per_s`
    to others. None is unknown. `caches` says that PyTorch allocates its memory in segments. The utilizations
    are what work on it reaches.
    """

    name: str
    operations_per_s: Mapping[str, float]
    bytes_per_s: float
    memory_bytes: int
    source: str
    watts: float | None = None
    link_bytes_per_s: float | None = None
    network_bytes_per_s: float | None = None
    server_devices: int = 8
    caches: bool = True
    training: Utilization = field(default=TRAINING)
    prefill: Utilization = field(default=PREFILL)
    decoding: Utilization = field(default=DECODING)

    def peak(self, precision: str) -> tuple[float, str]:
        """Return operations/s in a precision and the format that they are in; `mixed` multiplies in bf16.

        A device without bf16 multiplies in fp16. Raises BenchError where neither is known.
        """
        wanted = ("bf16", "fp16") if precision in ("bf16", "mixed") else (precision,)
        known = next((name for name in wanted if self.operations_per_s.get(name)), "")
        if not known:
            raise BenchError(
                f"--precision {precision}: no peak of {self.name} in it is known; it has "
                f"{', '.join(self.operations_per_s)}"
            )
        return self.operations_per_s[known], known

    def bytes_between(self, devices: int) -> float | None:
        """Return bytes/s, one direction, of each of so many devices that exchange data; None if unknown."""
        return self.link_bytes_per_s if devices <= self.server_devices else self.network_bytes_per_s


@dataclass(frozen=True)
class _Row:
    """A device's full name, GiB that a process can have, watts, GB/s of its links, and of a network."""

    full_name: str
    gibibytes: float
    watts: float | None
    link: float | None
    network: float | None = None


_DEVICES: Mapping[str, _Row] = {
    "v100": _Row("Tesla V100-SXM2-32GB", 31.73, 300, 150, 6.25),
    "t4": _Row("Tesla T4", 14.56, 70, 16),
    "a10": _Row("NVIDIA A10", 21.98, 150, 32),
    "a30": _Row("NVIDIA A30", 23.5, 165, 100),
    "a40": _Row("NVIDIA A40", 44.35, 300, 56),
    "a100-40gb": _Row("NVIDIA A100-SXM4-40GB", 39.38, 400, 300, 25),
    "a100": _Row("NVIDIA A100-SXM4-80GB", 79.14, 400, 300, 25),
    "a100-pcie": _Row("NVIDIA A100 80GB PCIe", 79.14, 300, 32, 25),
    "l4": _Row("NVIDIA L4", 21.95, 72, 32),
    "l40s": _Row("NVIDIA L40S", 44.39, 350, 32),
    "h100": _Row("NVIDIA H100 80GB HBM3", 79.1, 700, 450, 50),
    "h100-pcie": _Row("NVIDIA H100 PCIe", 79.1, 350, 64, 50),
    "h200": _Row("NVIDIA H200", 139.72, 700, 450, 50),
    "b200": _Row("NVIDIA B200", 178.35, 1000, 900, 50),
    "rtx-3090": _Row("NVIDIA GeForce RTX 3090", 23.56, 350, 32),
    "rtx-4090": _Row("NVIDIA GeForce RTX 4090", 23.52, 450, 32),
    "rtx-5090": _Row("NVIDIA GeForce RTX 5090", 31.36, 575, 64),
    "mi210": _Row("AMD Instinct MI210", 63.98, 300, 150),
    "mi300x": _Row("AMD Instinct MI300X", 191.69, 750, 448, 50),
    "tpu-v4": _Row("TPU v4", 32, None, None),
    "tpu-v5e": _Row("TPU v5e", 16, None, None),
    "tpu-v5p": _Row("TPU v5p", 95, None, None),
    "tpu-v6e": _Row("TPU v6e", 32, None, None),
}

MEASURED = "measured"
"""The name of this machine, by what a run measured of it."""


def names() -> list[str]:
    """Return the short names of devices, `MEASURED` too."""
    return [*_DEVICES, MEASURED]


def find_device(name: str) -> Device:
    """Return a device by its short name. Raises BenchError for an unknown one."""
    row = _DEVICES.get(name.lower())
    peak = nameplate(row.full_name) if row else None
    if row is None or peak is None:
        raise BenchError(f"--device: no device {name!r}{nearest(name, names())}; known: {', '.join(names())}")
    return Device(
        row.full_name,
        peak.operations_per_s,
        peak.bytes_per_s,
        round(row.gibibytes * GIB),
        peak.source,
        row.watts,
        row.link and 1e9 * row.link,
        row.network and 1e9 * row.network,
        caches=not row.full_name.startswith("TPU"),
    )
