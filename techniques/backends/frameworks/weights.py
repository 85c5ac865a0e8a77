"""How frameworks lay out the weights that PyTorch lays out as (out, in, ...)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch


@dataclass(frozen=True)
class Layout:
    """The axes of PyTorch's weight in the order of the framework's, and the order of a linear's features."""

    axes: tuple[int, ...] = ()
    order: np.ndarray[Any, Any] | None = None

    def given(self, tensor: torch.Tensor) -> np.ndarray[Any, Any]:
        """Return a copy of a weight for the framework."""
        array = tensor.detach().cpu().numpy()
        array = array if self.order is None else array[:, self.order]
        return np.array(array.transpose(self.axes) if self.axes else array, order="C")

    def taken(self, array: Any) -> torch.Tensor:
        """Return a copy of a framework's weight as PyTorch's."""
        found = np.asarray(array)
        found = found.transpose(np.argsort(self.axes)) if self.axes else found
        if self.order is not None:
            found = found[:, np.argsort(self.order)]
        return torch.from_numpy(np.array(found, order="C"))


SAME = Layout()
CONVOLUTION = Layout((2, 3, 1, 0))
"""(height, width, in, out)"""


def linear(order: np.ndarray[Any, Any] | None) -> Layout:
    """Return the layout (in, out) of a linear layer whose features come in that order."""
    return Layout((1, 0), order)


def named_tensors(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Return weights and buffers by each of their names: one that two layers share has two."""
    return {
        **dict(model.named_parameters(remove_duplicate=False)),
        **dict(model.named_buffers(remove_duplicate=False)),
    }


def host(tensor: torch.Tensor) -> np.ndarray[Any, Any]:
    """Return a batch or targets as frameworks take them: images channels last, integers of 32 bits.

    Raises OverflowError where one of them does not fit.
    """
    found = tensor.detach().cpu()
    if found.dim() == 4 and found.is_floating_point():
        found = found.permute(0, 2, 3, 1)
    if found.dtype == torch.int64:
        narrow = found.to(torch.int32)
        if not torch.equal(narrow, found):
            raise OverflowError("an integer does not fit 32 bits")
        found = narrow
    return found.contiguous().numpy()
