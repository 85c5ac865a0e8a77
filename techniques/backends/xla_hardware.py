"""Whether this machine has a TPU that JAX can use, found without importing JAX."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

from techniques.registry import Obstacle

_PCI = Path("/sys/bus/pci/devices")
_GOOGLE = "0x1ae0"
# From JAX 0.10.2, jax/_src/hardware_utils.py. Google's network cards have the same vendor.
_TPUS = {"0x0027", "0x0056", "0x005e", "0x0062", "0x0063", "0x006f", "0x0076"}


def without_tpu() -> Obstacle | None:
    """Say why JAX cannot use a TPU here, or None where it can.

    As JAX decides itself: by the devices on the PCI bus, unless `JAX_FORCE_TPU_INIT` is set, and by libtpu,
    the package or the file that `TPU_LIBRARY_PATH` names.
    """
    if "JAX_FORCE_TPU_INIT" not in os.environ and not any(map(_is_tpu, sorted(_PCI.glob("*")))):
        wanted = "a Google TPU"
        return Obstacle(f"requires {wanted}; none was found", hardware=wanted)
    if Path(os.environ.get("TPU_LIBRARY_PATH", "")).is_file() or importlib.util.find_spec("libtpu"):
        return None
    return Obstacle("requires libtpu, the runtime of TPUs", "pip install 'jax[tpu]'")


def _is_tpu(device: Path) -> bool:
    try:
        vendor, number = ((device / name).read_text().strip() for name in ("vendor", "device"))
    except OSError:
        return False
    return vendor == _GOOGLE and number in _TPUS
