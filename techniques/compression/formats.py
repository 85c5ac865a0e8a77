"""The rows of formats, and their settings: what stays in full precision, how static ranges are found."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from techniques.compression.properties import TWO_OF_FOUR
from techniques.compression.row import Tolerance

CALIBRATIONS = ("auto", "min-max", "percentile", "entropy", "mse")
"""How a static format finds the range of an activation from calibration batches: by its least and largest
number; without a share of the outermost numbers; by the least entropy lost (Migacz 2017, "8-bit Inference
with TensorRT"); by the least squared error. `auto` is the default of the library that quantizes."""

AUTO, MIN_MAX, BY_PERCENTILE, ENTROPY, MSE = CALIBRATIONS

PERCENTILE = 99.99
"""The percentage of an activation's numbers that its range holds, by default of `percentile`."""

LAYERS: dict[str, Any] = {"defaults": {"keep": "", "mixed": 0.0}, "ranges": {"mixed": "[0, 1]"}}
"""`keep` names modules whose layers stay in full precision. With `mixed`, the most sensitive layers do, until
the relative error of the outputs is at most that; 0 leaves no layer out. Traits of a row."""

STATIC: dict[str, Any] = {
    "defaults": {"calibration": AUTO, "percentile": PERCENTILE, **LAYERS["defaults"]},
    "ranges": {"calibration": ", ".join(CALIBRATIONS), "percentile": "(50, 100)", **LAYERS["ranges"]},
}
"""The traits of a format with static ranges."""


def add_formats(add: Callable[..., Any]) -> None:
    """Add the row of each format to the table of compressions."""
    add(
        "int8-dynamic",
        "techniques.compression.identity:apply",
        about="Format: int8 weights, activations quantized at run time",
        **LAYERS,
        kind="format",
        tolerance=Tolerance(cosine=0.98, top1_agreement=0.97),
    )
    add(
        "int8-static",
        "techniques.compression.identity:apply",
        about="Format: int8 weights and activations, scales from calibration batches",
        **STATIC,
        kind="format",
        tolerance=Tolerance(cosine=0.98, top1_agreement=0.97),
    )
    add(
        "int8-weight",
        "techniques.compression.identity:apply",
        about="Format: int8 weights, unquantized activations",
        **LAYERS,
        kind="format",
        tolerance=Tolerance(cosine=0.98, top1_agreement=0.97),
    )
    # MiniLM's sentence vectors have a cosine of 0.957 in it; their answers need not be wrong.
    add(
        "int4-weight",
        "techniques.compression.identity:apply",
        about="Format: int4 weights in groups that share a scale, unquantized activations",
        **LAYERS,
        kind="format",
        tolerance=Tolerance(cosine=0.95, top1_agreement=0.95),
    )
    add(
        "fp8",
        "techniques.compression.identity:apply",
        about="Format: fp8 weights and activations (Micikevicius et al. 2022), quantized at run time",
        **LAYERS,
        kind="format",
        tolerance=Tolerance(cosine=0.98, top1_agreement=0.97),
    )
    # Its products round as those of bf16 do.
    add(
        "sparse-2-4",
        "techniques.compression.identity:apply",
        about="Format: the half of each four weights that prune-2-4 leaves, by the sparse kernels of GPUs "
        "(Mishra et al. 2021)",
        kind="format",
        requires=TWO_OF_FOUR,
        tolerance=Tolerance(relative_error=2e-2),
    )
