"""A step of Keras's on TensorFlow: a graph, not compiled by XLA, as Keras has it on CPUs.

As in Keras's guide "Writing a training loop from scratch in TensorFlow".
"""

from __future__ import annotations

import os
from typing import Any

os.environ["KERAS_BACKEND"] = "tensorflow"

from techniques.backends.frameworks.keras_training import Arrays, KerasTrainingStep
from techniques.backends.frameworks.tensorflow_start import start, tf


class KerasTensorFlowStep(KerasTrainingStep):
    """Trains Keras's variables in place."""

    compiles = "tf.function"

    @staticmethod
    def start(threads: int) -> None:
        """Start TensorFlow on the CPU with this many threads."""
        start(threads)

    def _begin(self, net: Any, optimizer: Any) -> None:
        weights = net.trainable_variables

        # Not rewritten by AutoGraph, as Keras's own steps are not: its code would lie in temporary files.
        @tf.function(jit_compile=False, autograph=False)  # type: ignore[untyped-decorator]
        def step(batch: Any, targets: Any) -> Any:
            with tf.GradientTape() as tape:
                loss = self.loss_of(net(batch, training=True), targets)
            optimizer.apply(tape.gradient(loss, [each.value for each in weights]), weights)
            return loss

        self._step = step

    def _take(self, batch: Arrays, targets: Arrays) -> Any:
        return self._step(tf.convert_to_tensor(batch), tf.convert_to_tensor(targets)).numpy()
