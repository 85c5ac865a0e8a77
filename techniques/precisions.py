"""The table of precisions: the dtype of unquantized arithmetic, and how far its outputs may be from fp32."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Precision:
    """`dtype` is torch's attribute; `relative_error` is over the largest of the fp32 eager outputs."""

    name: str
    dtype: str
    relative_error: float


PRECISIONS = {
    precision.name: precision
    for precision in (
        Precision("fp32", "float32", 1e-4),
        # Stored and added as fp32, multiplied with 10 bits of mantissa, as fp16 is (NVIDIA 2020, "NVIDIA A100
        # Tensor Core GPU Architecture").
        Precision("tf32", "float32", 2e-3),
        Precision("bf16", "bfloat16", 2e-2),
        Precision("fp16", "float16", 5e-3),
        Precision("fp64", "float64", 1e-9),
    )
}
