"""AdamW with state of 8 bits, from torchao."""

from __future__ import annotations

from typing import Any

import torch
import torch._inductor.config
from torchao.optim import AdamW8bit

COMPILED = "compiled"


class AdamW8bits(AdamW8bit):
    """torchao's AdamW, with means in 8 bits (Dettmers et al. 2022); compiles the update of each shape."""

    variant = COMPILED

    def __init__(self, parameters: Any, **settings: Any) -> None:
        torch._inductor.config.compile_threads = 1  # inside the worker, so that nothing outlives it
        super().__init__(parameters, **settings)

    def warm_up(self) -> None:
        """Compile the update of each parameter that has a gradient, on copies."""
        for group in self.param_groups:
            copies = [_copy(entry) for entry in group["params"] if entry.grad is not None]
            if not copies:
                continue
            settings = {key: group[key] for key in ("betas", "eps", "weight_decay")}
            AdamW8bit(copies, lr=float(group["lr"]), **settings).step()


def _copy(parameter: torch.Tensor) -> torch.nn.Parameter:
    copy = torch.nn.Parameter(parameter.detach().clone())
    assert parameter.grad is not None
    copy.grad = parameter.grad.detach().clone()
    return copy
