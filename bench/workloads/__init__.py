"""The table of workloads: data, model, loss, quality metric, and a target fixed beforehand."""

from __future__ import annotations

from dataclasses import dataclass

from techniques.registry import Registry, Row


@dataclass(frozen=True)
class WorkloadRow(Row):
    """`dataset` names a row of `bench.datasets`, or is None where the workload makes its own data."""

    dataset: str | None = None


WORKLOADS: Registry[WorkloadRow] = Registry("workload", WorkloadRow, entry_points="bench.workloads")

_add = WORKLOADS.add

_add(
    "fashion-mnist-simplecnn",
    "bench.workloads.image_classification:FASHION_MNIST_SIMPLECNN",
    about="Two convolutions and two linear layers on 70,000 images of clothes; target 90 % accuracy",
    dataset="fashion-mnist",
)
_add(
    "digits",
    "bench.workloads.image_classification:DIGITS",
    about="The same kind of net on scikit-learn's 1,797 handwritten digits, no download; target 95 %",
    dataset="digits",
)
