"""A step of Keras's on PyTorch: operator by operator, as Keras has it by default.

As in Keras's guide "Writing a training loop from scratch in PyTorch".
"""

from __future__ import annotations

import os
from typing import Any

os.environ["KERAS_BACKEND"] = "torch"
os.environ["KERAS_TORCH_DEVICE"] = "cpu"

import torch

from techniques.backends.frameworks.keras_training import Arrays, KerasTrainingStep


class KerasTorchStep(KerasTrainingStep):
    """Trains Keras's variables in place."""

    compiles = "operator by operator"

    def _begin(self, net: Any, optimizer: Any) -> None:
        self._optimizer, self._trained = optimizer, net.trainable_variables

    def _take(self, batch: Arrays, targets: Arrays) -> Any:
        with torch.enable_grad():
            self._net.zero_grad()
            loss = self.loss_of(self._net(torch.from_numpy(batch), training=True), torch.from_numpy(targets))
            loss.backward()
        gradients = [each.value.grad for each in self._trained]
        with torch.no_grad():
            self._optimizer.apply(gradients, self._trained)
        return loss.item()
