"""The table of compressions: steps that change the model, and formats that change how its numbers are stored.

A recipe chains steps with `+`, left to right; at most one format, always last.
"""

from __future__ import annotations

from typing import Any

from techniques.compression.formats import add_formats
from techniques.compression.properties import ROUNDED, SHARED, TWO_OF_FOUR, ZEROS
from techniques.compression.properties import TRAINS as _TRAINS
from techniques.compression.recipes import Recipe, read_recipe
from techniques.compression.rounding_rows import add_rounding
from techniques.compression.row import CompressionRow, Tolerance
from techniques.registry import Registry
from techniques.settings import Setting

__all__ = ["COMPRESSIONS", "CompressionRow", "Recipe", "Tolerance", "parse_recipe"]

COMPRESSIONS: Registry[CompressionRow] = Registry(
    "compression", CompressionRow, entry_points="bench.compressions"
)

_add = COMPRESSIONS.add

_MOVES = {**_TRAINS, TWO_OF_FOUR: "would move weights out of their groups of four"}

_DENSE = "none by dense kernels: zeroed weights still run; the compressed file is smaller"
_SMALLER = "yes: the layers left are smaller and dense"


_AMOUNTS: dict[str, tuple[dict[str, Any], dict[str, str]]] = {
    "sparsity": ({"sparsity": 0.5}, {"sparsity": "[0, 1)"}),
    "ratio": ({"ratio": 1.0}, {"ratio": "[0, inf)"}),
    "": ({}, {}),
}


def _prune(name: str, function: str, about: str, argument: str = "sparsity", **traits: Any) -> None:
    """Add a step that sets weights to zero."""
    defaults, ranges = _AMOUNTS[argument]
    defaults = {**defaults, **traits.pop("defaults", {})}
    ranges = {**ranges, **traits.pop("ranges", {})}
    shared: dict[str, Any] = {
        "leaves": ZEROS,
        "speed": _DENSE,
        "undoes": _TRAINS,
        "argument": argument or None,
    }
    _add(
        name,
        f"techniques.compression.pruning:{function}",
        about=about,
        defaults=defaults,
        ranges=ranges,
        **shared | traits,
    )


_add(
    "none",
    "techniques.compression.identity:apply",
    about="The trained model without compression",
    kind="identity",
)
_add(
    "finetune",
    "techniques.compression.identity:finetune",
    about="The control: trains on for as many steps as any recovery, without compression",
    control="",
    speed="none: the model is the same",
    undoes=_TRAINS,
)
_prune(
    "prune-mean",
    "prune_mean",
    "Per layer, zero weights below mean |weight| × ratio, then fine-tune",
    argument="ratio",
)
_prune(
    "prune-magnitude",
    "prune_magnitude",
    "Per layer, zero this share of the smallest weights, then fine-tune (Han et al. 2015)",
    control="prune-random:{sparsity}",
)
_prune(
    "prune-magnitude-as-mean",
    "prune_magnitude_as_mean",
    "prune-magnitude at the sparsity that prune-mean of this ratio reaches on the same model",
    argument="ratio",
)
_prune(
    "prune-global",
    "prune_global",
    "Zero this share of the smallest weights over all layers together, then fine-tune (Blalock et al. 2020)",
    control="prune-magnitude:{sparsity}",
)
_prune(
    "prune-gradual",
    "prune_gradual",
    "prune-magnitude in rounds of growing sparsity, by a cubic schedule; each recovers for its share of the "
    "budget (Zhu & Gupta 2017)",
    defaults={"rounds": 8},
    ranges={"rounds": "[1, 1000]"},
    control="prune-magnitude:{sparsity}",
)
_prune(
    "prune-taylor",
    "prune_taylor",
    "Zero this share of the weights, over all layers, of least (weight × gradient)², then fine-tune "
    "(Molchanov et al. 2019)",
    control="prune-random:{sparsity}",
)
_prune(
    "prune-snip",
    "prune_snip",
    "Zero this share of the weights, over all layers, of least |weight × gradient of the whole loss|, then "
    "fine-tune; the paper does so at initialisation, this on the trained model (SNIP, Lee et al. 2019)",
    control="prune-random:{sparsity}",
)
_prune(
    "prune-wanda",
    "prune_wanda",
    "Of each output's weights zero this share of least |weight| × norm of the input, then fine-tune "
    "(Wanda, Sun et al. 2023)",
    control="prune-random:{sparsity}",
)
_prune(
    "prune-random",
    "prune_random",
    "The control of pruning: per layer, zero this share of weights by lot, then fine-tune",
)
_prune(
    "prune-2-4",
    "prune_two_of_four",
    "Of each four weights of neighbouring inputs keep the two largest, then fine-tune (Mishra et al. 2021)",
    argument="",
    control="prune-magnitude:0.5",
    leaves=TWO_OF_FOUR,
    speed="none by dense kernels; on an NVIDIA GPU with the format sparse-2-4, where layers are large",
)


def _channels(name: str, about: str, control: str) -> None:
    """Add a step that removes whole channels: models of one share have one structure, whatever chose them."""
    _add(
        name,
        f"techniques.compression.channels:{name.replace('-', '_')}",
        about=about,
        defaults={"share": 0.5},
        argument="share",
        ranges={"share": "[0, 1)"},
        structure="prune-channels:{share}",
        needs=("torch_pruning",),
        install="pip install torch-pruning",
        speed=_SMALLER,
        undoes=_MOVES,
        control=control,
    )


_channels(
    "prune-channels",
    "Remove this share of every layer's channels, leaving smaller dense layers, then fine-tune "
    "(by the norm of all weights of a channel; Torch-Pruning, Fang et al. 2023)",
    control="prune-channels-random:{share}",
)
_channels(
    "prune-channels-magnitude",
    "prune-channels by the sum of |weight| of each channel's own filter (Li et al. 2017)",
    control="prune-channels-random:{share}",
)
_channels(
    "prune-channels-taylor",
    "prune-channels by the sum of (weight × gradient)² of all weights of a channel (Molchanov et al. 2019)",
    control="prune-channels-random:{share}",
)
_channels(
    "prune-channels-random",
    "The control of prune-channels: the same share of channels, drawn by lot",
    control="finetune",
)


def _parts(name: str, place: str, about: str, control: str, speed: str, undoes: Any, share: float) -> None:
    """Add a step that removes a share of the parts of a model: heads, layers."""
    _add(
        name,
        f"techniques.compression.{place}:{name.replace('-', '_')}",
        about=about,
        defaults={"share": share},
        argument="share",
        ranges={"share": "[0, 1)"},
        structure=f"{name}:{{share}}",
        speed=speed,
        undoes=undoes,
        control=control,
    )


_HEADS: Any = {"place": "attention", "undoes": _MOVES, "share": 0.5}
_LAYERS: Any = {"place": "blocks", "undoes": _TRAINS, "share": 0.25}

_parts(
    "prune-heads",
    about="Remove this share of every attention's heads, those the loss counts least, then fine-tune "
    "(Michel, Levy & Neubig 2019)",
    control="prune-heads-random:{share}",
    speed="a little: attention is smaller, the feed-forward layers stay",
    **_HEADS,
)
_parts(
    "prune-heads-random",
    about="The control of prune-heads: the same share of heads, drawn by lot",
    control="finetune",
    speed="as prune-heads",
    **_HEADS,
)
_parts(
    "remove-layers",
    about="Remove this share of the residual blocks, those whose absence changes the outputs least, then "
    "fine-tune (Veit, Wilber & Belongie 2016; Men et al. 2024)",
    control="remove-layers-random:{share}",
    speed="yes: by the share of the work that the removed blocks had",
    **_LAYERS,
)
_parts(
    "remove-layers-random",
    about="The control of remove-layers: as many blocks, drawn by lot",
    control="finetune",
    speed="as remove-layers, if the blocks are alike",
    **_LAYERS,
)
_DENSER = {**_TRAINS, ZEROS: "would fill the zeros: a product of two factors has none"}
_DENSER[TWO_OF_FOUR] = _DENSER[ZEROS]


def _low_rank(name: str, about: str, argument: str, default: float, range_: str) -> None:
    """Add a step that replaces layers by two smaller ones."""
    _add(
        name,
        f"techniques.compression.low_rank:{name.replace('-', '_')}",
        about=about,
        defaults={argument: default, "convolutions": "channel"},
        argument=argument,
        ranges={argument: range_, "convolutions": "channel, spatial"},
        structure=f"{name}:{{{argument}}},{{convolutions}}",
        speed="yes where layers are large: fewer operations, but twice as many calls",
        undoes=_DENSER,
    )


_low_rank(
    "low-rank",
    "Replace linear and convolution layers by two of this share of their rank, by SVD, where those are "
    "smaller, then fine-tune (Denton et al. 2014; spatial: Jaderberg et al. 2014)",
    *("share", 0.25, "(0, 1]"),
)
_low_rank(
    "low-rank-energy",
    "low-rank with the least rank that keeps this share of each layer's squared singular values",
    *("energy", 0.9, "(0, 1]"),
)
_add(
    "share-weights",
    "techniques.compression.sharing:share_weights",
    about="Cluster each layer's weights into 2^bits values by k-means, then train the values "
    "(Han, Mao & Dally 2016)",
    defaults={"bits": 4},
    argument="bits",
    ranges={"bits": "[1, 12]"},
    speed="none: weights are stored and multiplied in fp32; the compressed file is smaller",
    leaves=SHARED,
    undoes=_TRAINS,
)


add_rounding(COMPRESSIONS)


def _student(name: str, place: str, about: str, size: str, control: str, **settings: Setting) -> None:
    """Add a step that trains a student; one with a control has a teacher."""
    taught = bool(control)
    defaults = {size: 0.5, **(_TEACHING if taught else {}), **settings}
    of_width = "student:{width}" + (" {into}" if "into" in settings else "")
    _add(
        name,
        f"techniques.compression.{place}:{name.replace('-', '_')}",
        about=about,
        defaults=defaults,
        argument=size,
        ranges={key: _STUDENT_RANGES[key] for key in defaults if key in _STUDENT_RANGES},
        structure=of_width if size == "width" else f"student-{size}:{{{size}}}",
        taught=taught,
        fresh=True,
        budget="student",
        control=control,
        speed=_SMALLER,
    )


_TEACHING = {"temperature": 4.0, "alpha": 0.9}
_STUDENT_RANGES = {
    **dict.fromkeys(("width", "depth"), "(0, 1]"),
    **{"temperature": "(0, inf)", "alpha": "[0, 1]", "beta": "[0, inf)"},
}

_add(
    "smooth-quant",
    "techniques.compression.smoothing:smooth_quant",
    about="Move outliers of activations into the weights after them, ahead of int8-static; trains nothing "
    "(SmoothQuant, Xiao et al. 2023)",
    defaults={"alpha": 0.5},
    argument="alpha",
    ranges={"alpha": "[0, 1]"},
    control="",
    structure="smooth-quant",
    speed="none: scales go into layer norms where nothing else reads them, else each costs a product",
    undoes={
        SHARED: "would scale the weights of each input apart",
        ROUNDED: "would scale each input's weights off the levels that they were rounded to",
    },
)

_student(
    "distill",
    "distillation",
    "A student of this width, or the model of another workload (`into`), trained from scratch by the model "
    "(Hinton, Vinyals & Dean 2015)",
    *("width", "student:{width},into={into}"),
    into="",
)
_student(
    "distill-features",
    "features",
    "distill, and the student's middle layer learns to tell its teacher's (FitNets, Romero et al. 2015)",
    *("width", "student:{width}"),
    beta=1.0,
)
_student(
    "distill-depth",
    "distillation",
    "A student of this share of the layers, trained from scratch by the model (Sanh et al. 2019)",
    *("depth", "student-depth:{depth}"),
)
_student(
    "student",
    "distillation",
    "The control of distill: the same student, for as many steps, without a teacher",
    *("width", ""),
    into="",
)
_student(
    "student-depth",
    "distillation",
    "The control of distill-depth: the same student, for as many steps, without a teacher",
    *("depth", ""),
)
add_formats(_add)


def parse_recipe(text: str) -> Recipe:
    """Read `step+step+format`, an empty recipe from `none`.

    Raises TechniqueError for an unknown technique or setting, and as `read_recipe` does for steps that do not
    go together.
    """
    return read_recipe(text, COMPRESSIONS.parse)
