"""The table of workloads: data, model, loss, quality metric, and a target fixed beforehand."""

from __future__ import annotations

from dataclasses import dataclass

from bench.metrics import METRICS
from techniques.registry import Registry, Row, nearest


@dataclass(frozen=True)
class WorkloadRow(Row):
    """A workload's definition, all but its code, which `implementation` names.

    `quality_metric` is a metric that is better when higher; training ends when it has met `target` in two
    evaluations in a row, of which there are `evaluations_per_epoch`, or after `train_steps`. Recovery after a
    compression takes `recover_steps`, a student's training `student_steps`. `optimizer` is the one that the
    target was measured with: `"tuned"` in a matrix stands for it. `datasets` names rows of `bench.datasets`,
    none where the workload makes its own data.
    """

    quality_metric: str = "accuracy"
    target: float = 0.0
    batch_size: int = 1
    train_steps: int = 1
    recover_steps: int = 1
    student_steps: int = 1
    evaluations_per_epoch: int = 4
    datasets: tuple[str, ...] = ()
    optimizer: str = "adam"

    def check_traits(self) -> None:
        super().check_traits()
        counts = ("batch_size", "train_steps", "recover_steps", "student_steps", "evaluations_per_epoch")
        for name in counts:
            if not isinstance(getattr(self, name), int) or getattr(self, name) < 1:
                raise ValueError(
                    f"{name} is {getattr(self, name)!r}; it must be a whole number of at least 1"
                )
        if self.quality_metric not in METRICS:
            raise ValueError(
                f"unknown quality metric {self.quality_metric!r}{nearest(self.quality_metric, METRICS)}"
            )


WORKLOADS: Registry[WorkloadRow] = Registry("workload", WorkloadRow, entry_points="bench.workloads")

_add = WORKLOADS.add

_add(
    "fashion-mnist-simplecnn",
    "bench.workloads.image_classification:FASHION_MNIST_SIMPLECNN",
    about="Two convolutions and two linear layers, on 70,000 images of clothes",
    target=0.90,
    batch_size=128,
    train_steps=2345,
    recover_steps=234,
    student_steps=938,
    datasets=("fashion-mnist",),
)
_add(
    "fashion-mnist-simplecnn-mse",
    "bench.workloads.image_classification:FASHION_MNIST_SIMPLECNN_MSE",
    about="The same net and images, trained by mean squared error on one-hot labels",
    target=0.90,
    batch_size=128,
    train_steps=2345,
    recover_steps=234,
    student_steps=938,
    datasets=("fashion-mnist",),
)
_add(
    "digits",
    "bench.workloads.image_classification:DIGITS",
    about="The same kind of net on scikit-learn's 1,797 handwritten digits, no download",
    target=0.95,
    batch_size=32,
    train_steps=450,
    recover_steps=45,
    student_steps=180,
    datasets=("digits",),
)
