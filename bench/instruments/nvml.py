"""NVIDIA's management library (pynvml, of `nvidia-ml-py`): opened in one way, and its handle of our board."""

from __future__ import annotations

import os
from typing import Any


class NvmlSilent(Exception):
    """NVML does not answer; the message says why."""


def open_nvml() -> Any:
    """Return pynvml, initialised: its user calls `nvmlShutdown`. Raises NvmlSilent: no library, no driver."""
    try:
        import pynvml

        pynvml.nvmlInit()
    except Exception as error:
        raise NvmlSilent(str(error)) from error
    return pynvml


def current_board(pynvml: Any) -> Any:
    """Return NVML's handle of PyTorch's current device; their numbers differ under CUDA_VISIBLE_DEVICES."""
    import torch

    uuid = str(torch.cuda.get_device_properties(torch.cuda.current_device()).uuid)
    return pynvml.nvmlDeviceGetHandleByUUID(uuid if uuid.startswith(("GPU-", "MIG-")) else f"GPU-{uuid}")


def first_visible_board(pynvml: Any) -> Any:
    """Return NVML's handle of the first visible board, without a context that would be one process more.

    By its number where that is how it is chosen: NVML counts as CUDA does under CUDA_DEVICE_ORDER=PCI_BUS_ID.
    """
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0].strip()
    if chosen.isdigit():
        return pynvml.nvmlDeviceGetHandleByIndex(int(chosen))
    return pynvml.nvmlDeviceGetHandleByUUID(chosen)
