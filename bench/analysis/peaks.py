"""What an accelerator is sold to do at most: operations/s by number format, bytes/s, by its name.

Products of dense matrices: nothing counts twice for 2:4 sparsity, and fp16 and bf16 are added up in fp32, as
PyTorch does. fp32 is without tensor cores on NVIDIA's GPUs, with matrix cores on AMD's. A row holds for one
device as PyTorch shows it, at its boost clock. `bench.instruments.ceilings` measures what is left of that.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatch


@dataclass(frozen=True)
class Peak:
    """`operations_per_s` by number format, `bytes_per_s` to and from memory, and who says so."""

    operations_per_s: Mapping[str, float]
    bytes_per_s: float
    source: str


def nameplate(device_name: str) -> Peak | None:
    """Return the peak of a device by its name, None where none is known.

    Names are as NVML, PyTorch or JAX give them: "NVIDIA H100 80GB HBM3". Of patterns that fit the whole name
    the longest wins, so that a slice of a GPU, or one for laptops, is not taken for the whole.
    """
    found = [pattern for pattern in _PEAKS if fnmatch(device_name.lower(), pattern.lower())]
    return _PEAKS[max(found, key=len)] if found else None


def _peak(source: str, gigabytes_per_s: float, **tera_operations_per_s: float) -> Peak:
    rates = {name: 1e12 * rate for name, rate in tera_operations_per_s.items()}
    return Peak(rates, 1e9 * gigabytes_per_s, source)


_V100 = "NVIDIA V100 data sheet, January 2020"
_A100 = "NVIDIA A100 data sheet, June 2021"
_H100 = "NVIDIA H100 data sheet; halved, as it counts sparsity"
_H200 = "NVIDIA H200 data sheet; halved, as it counts sparsity"
_TPU = "Google Cloud, TPU documentation, a chip"

_AMPERE_100 = {"fp32": 19.5, "tf32": 156.0, "bf16": 312.0, "fp16": 312.0, "int8": 624.0}
_HOPPER_SXM = {"fp32": 67.0, "tf32": 494.7, "bf16": 989.4, "fp16": 989.4, "fp8": 1978.9, "int8": 1978.9}
_HOPPER_NVL = {"fp32": 60.0, "tf32": 417.5, "bf16": 835.5, "fp16": 835.5, "fp8": 1670.5, "int8": 1670.5}
_MI250X = {"fp32": 47.85, "bf16": 191.5, "fp16": 191.5, "int8": 191.5}

_PEAKS: Mapping[str, Peak] = {
    "*V100-SXM2-*GB": _peak(_V100, 900, fp32=15.7, fp16=125),
    "*V100-PCIE-*GB": _peak(_V100, 900, fp32=14, fp16=112),
    "*V100S-PCIE-*GB": _peak(_V100, 1134, fp32=16.4, fp16=130),
    "* T4": _peak("NVIDIA T4 product brief (PB-09256)", 320, fp32=8.1, fp16=65, int8=130),
    "* A10": _peak("NVIDIA A10 data sheet", 600, fp32=31.2, tf32=62.5, bf16=125, fp16=125, int8=250),
    "* A30": _peak("NVIDIA A30 data sheet", 933, fp32=10.3, tf32=82, bf16=165, fp16=165, int8=330),
    "* A40": _peak("NVIDIA A40 data sheet", 696, fp32=37.4, tf32=74.8, bf16=149.7, fp16=149.7, int8=299.3),
    "*A100-SXM4-40GB": _peak(_A100, 1555, **_AMPERE_100),
    "*A100-PCIE-40GB": _peak(_A100, 1555, **_AMPERE_100),
    "*A100-SXM4-80GB": _peak(_A100, 2039, **_AMPERE_100),
    "*A100 80GB PCIe": _peak(_A100, 1935, **_AMPERE_100),
    "* L4": _peak(
        "NVIDIA L4 data sheet; halved, as it counts sparsity",
        300,
        fp32=30.3,
        tf32=60,
        bf16=121,
        fp16=121,
        fp8=242.5,
        int8=242.5,
    ),
    "* L40S": _peak(
        "NVIDIA L40S data sheet",
        864,
        fp32=91.6,
        tf32=183,
        bf16=362.05,
        fp16=362.05,
        fp8=733,
        int8=733,
    ),
    "* H100 80GB HBM3": _peak(_H100, 3350, **_HOPPER_SXM),
    "* H100 PCIe": _peak(_H100, 2000, fp32=51, tf32=378, bf16=756.5, fp16=756.5, fp8=1513, int8=1513),
    "* H100 NVL": _peak(_H100, 3900, **_HOPPER_NVL),
    "* H200": _peak(_H200, 4800, **_HOPPER_SXM),
    "* H200 NVL": _peak(_H200, 4800, **_HOPPER_NVL),
    "* B200": _peak(
        "NVIDIA Blackwell architecture technical brief, HGX B200",
        8000,
        fp32=80,
        tf32=1100,
        bf16=2250,
        fp16=2250,
        fp8=4500,
        int8=4500,
    ),
    "*RTX 3090": _peak(
        "NVIDIA Ampere GA102 GPU architecture white paper, appendix A",
        936,
        fp32=35.6,
        tf32=35.6,
        bf16=71,
        fp16=71,
        int8=284,
    ),
    "*RTX 4090": _peak(
        "NVIDIA Ada GPU architecture white paper, appendix A",
        1008,
        fp32=82.6,
        tf32=82.6,
        bf16=165.2,
        fp16=165.2,
        fp8=330.3,
        int8=660.6,
    ),
    "*RTX 5090": _peak(
        "NVIDIA RTX Blackwell GPU architecture white paper, appendix A",
        1792,
        fp32=104.8,
        tf32=104.8,
        bf16=209.5,
        fp16=209.5,
        fp8=419,
        int8=838,
    ),
    "*Instinct MI210*": _peak(
        "AMD Instinct MI210 data sheet", 1638.4, fp32=45.3, bf16=181, fp16=181, int8=181
    ),
    # Two devices to PyTorch, of which this is one.
    "*Instinct MI250X*": _peak("AMD Instinct MI250X data sheet, half of it", 1638.4, **_MI250X),
    "*Instinct MI300X*": _peak(
        "AMD Instinct MI300X data sheet",
        5325,
        fp32=163.4,
        tf32=653.7,
        bf16=1307.4,
        fp16=1307.4,
        fp8=2614.9,
        int8=2614.9,
    ),
    "TPU v4": _peak(_TPU, 1200, bf16=275, int8=275),
    # JAX names the efficient ones "lite", and v5p "v5".
    "TPU v5e": _peak(_TPU, 819, bf16=197, int8=393),
    "TPU v5 lite": _peak(_TPU, 819, bf16=197, int8=393),
    "TPU v5p": _peak(_TPU, 2765, bf16=459, int8=918),
    "TPU v5": _peak(_TPU, 2765, bf16=459, int8=918),
    "TPU v6e": _peak(_TPU, 1640, bf16=918, int8=1836),
    "TPU v6 lite": _peak(_TPU, 1640, bf16=918, int8=1836),
}
