"""TensorFlow's threads, and no GPU."""

from __future__ import annotations

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import tensorflow as tf

__all__ = ["start", "tf"]


def start(threads: int) -> None:
    """Give TensorFlow this many threads, within an operator and for operators side by side, and no GPU.

    Once it has started they stay as they are; raises RuntimeError where it then has others.
    """
    try:
        tf.config.set_visible_devices([], "GPU")
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(threads)
    except RuntimeError:
        if tf.config.threading.get_intra_op_parallelism_threads() != threads:
            raise
