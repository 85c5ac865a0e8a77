"""Accelerated gradient descent."""

from __future__ import annotations

from typing import Any

import torch


class Nesterov(torch.optim.SGD):
    """PyTorch's SGD with Nesterov's momentum, in the form of Sutskever et al. 2013."""

    def __init__(self, parameters: Any, **settings: Any) -> None:
        super().__init__(parameters, nesterov=True, **settings)
