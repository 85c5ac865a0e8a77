"""Rows of steps that make few bits lose less: rounding by calibration, rounding in training, and LoRA."""

from __future__ import annotations

from typing import Any

from techniques.compression.properties import ROUNDED, SHARED, TRAINS
from techniques.compression.row import CompressionRow
from techniques.registry import Registry

_DEFAULTS: dict[str, Any] = {"bits": 4, "group": 32, "grid": "affine"}
_RANGES = {"bits": "[2, 8]", "group": "[0, 4096]", "grid": "affine, symmetric"}
_SPEED = "none by itself: the format after it is as fast as without"
_NEAREST = "round-to-nearest:{bits},group={group},grid={grid}"


def add_rounding(table: Registry[CompressionRow]) -> None:
    """Add the rows to the table."""
    _round(
        table,
        "round-to-nearest",
        "The control of gptq and sign-round: weights of linear layers at the nearest of 2^bits levels of "
        "each group of inputs",
        control="",
    )
    _round(
        table,
        "gptq",
        "Round weights of linear layers so that those of later inputs make up for the error of earlier ones "
        "(Frantar et al. 2023)",
    )
    _round(
        table,
        "sign-round",
        "Round weights of linear layers up or down by signed gradient descent on each layer's outputs "
        "(SignRound, Cheng et al. 2023)",
    )
    table.add(
        "qat",
        "techniques.compression.qat:qat",
        about="Quantization-aware training: recover with weights of linear layers rounded at each step "
        "(Jacob et al. 2018; torchao)",
        defaults={**_DEFAULTS, "activations": "float"},
        argument="bits",
        ranges={**_RANGES, "activations": "float, int8"},
        speed=_SPEED,
        leaves=ROUNDED,
        undoes=TRAINS,
        control=f"finetune+{_NEAREST}",
    )
    table.add(
        "lora",
        "techniques.compression.lora:lora",
        about="Recover by adapters of low rank, merged into the weights; zeros stay zero (Hu et al. 2022; "
        "peft)",
        defaults={"rank": 8, "alpha": 16.0},
        argument="rank",
        ranges={"rank": "[1, 4096]", "alpha": "(0, inf)"},
        needs=("peft",),
        install="pip install 'dl-efficiency-bench[lora]'",
        speed="none: the adapters are merged into the weights",
        undoes=TRAINS,
    )


def _round(table: Registry[CompressionRow], name: str, about: str, control: str = _NEAREST) -> None:
    """Add a step that chooses the rounding of weights, without training."""
    table.add(
        name,
        f"techniques.compression.rounding:{name.replace('-', '_')}",
        about=about,
        defaults=_DEFAULTS,
        argument="bits",
        ranges=_RANGES,
        budget="none",
        control=control,
        speed=_SPEED,
        leaves=ROUNDED,
        undoes={
            SHARED: "would move weights that share a value apart",
            ROUNDED: "would choose each rounding again",
        },
    )
