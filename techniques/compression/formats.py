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

    def add_format(name: str, **traits: Any) -> None:
        add(name, "techniques.compression.identity:apply", kind="format", **traits)

    add_format(
        "int8-dynamic",
        about="Format: int8 weights, activations quantized at run time",
        **LAYERS,
        tolerance=Tolerance(cosine=0.98, top1_agreement=0.97),
    )
    add_format(
        "int8-static",
        about="Format: int8 weights and activations, scales from calibration batches",
        **STATIC,
        tolerance=Tolerance(cosine=0.98, top1_agreement=0.97),
    )
    add_format(
        "int8-weight",
        about="Format: int8 weights, unquantized activations",
        **LAYERS,
        tolerance=Tolerance(cosine=0.98, top1_agreement=0.97),
    )
    # MiniLM's sentence vectors have a cosine of 0.957 in it; their answers need not be wrong.
    add_format(
        "int4-weight",
        about="Format: int4 weights in groups that share a scale, unquantized activations",
        **LAYERS,
        tolerance=Tolerance(cosine=0.95, top1_agreement=0.95),
    )
    add_format(
        "fp8",
        about="Format: fp8 weights and activations (Micikevicius et al. 2022), quantized at run time",
        **LAYERS,
        tolerance=Tolerance(cosine=0.98, top1_agreement=0.97),
    )
    # Its products round as those of bf16 do.
    add_format(
        "sparse-2-4",
        about="Format: the half of each four weights that prune-2-4 leaves, by the sparse kernels of GPUs "
        "(Mishra et al. 2021)",
        requires=TWO_OF_FOUR,
        tolerance=Tolerance(relative_error=2e-2),
    )
