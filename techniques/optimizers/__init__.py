"""The table of optimizers: what updates the weights from their gradients.

Defaults are those of the paper, or of its authors' code where the paper leaves one open. Where neither has a
rate, `tried_on` names the workload that it was chosen on: the one that held 90 % *test* accuracy there in the
fewest steps of two or three tried, a factor of 1.5 to 2.5 apart. `bench rank` says so. Shampoo (its steps are
as long as SGD's) and nesterov have momentum's.
"""

from typing import Any

from techniques.optimizers import state
from techniques.optimizers.row import OptimizerRow, Span
from techniques.optimizers.state import buffers
from techniques.registry import Registry

__all__ = ["OPTIMIZERS", "OptimizerRow", "Span"]

OPTIMIZERS: Registry[OptimizerRow] = Registry("optimizer", OptimizerRow, entry_points="bench.optimizers")

_POSITIVE, _NOT_NEGATIVE, _DECAY = "(0, inf)", "[0, inf)", "[0, 1)"
_RANGES = {
    **dict.fromkeys(("lr", "eps", "gamma", "adamw_lr"), _POSITIVE),
    **dict.fromkeys(("weight_decay", "adamw_weight_decay", "alpha", "warm_up_steps"), _NOT_NEGATIVE),
    **dict.fromkeys(("beta1", "beta2", "beta3", "rho"), _DECAY),
    "momentum": "(0, 1)",
    **dict.fromkeys(("period", "update_period", "precondition_frequency", "start", "block_size"), "[1, inf)"),
}
"""The ranges of settings by name, where a row has no range of its own."""

_LOOP_OR_FOREACH = "auto, loop, foreach"
_OR_FUSED = f"{_LOOP_OR_FOREACH}, fused"

_PACKAGE: Any = {
    "needs": ("pytorch_optimizer",),
    "install": "pip install 'dl-efficiency-bench[optimizers]'",
}
_CLASSES = "techniques.optimizers.pytorch_optimizer_classes"
_SCHEDULE_FREE: Any = {
    "needs": ("schedulefree",),
    "install": "pip install 'dl-efficiency-bench[optimizers]'",
    "own_average": True,
}

_TRIED_ON = "fashion-mnist-simplecnn"

_RATE = {"lr": Span(1e-5, 1e-1)}
_RATE_AND_DECAY = {**_RATE, "weight_decay": Span(1e-4, 1.0)}


def _add(
    name: str,
    implementation: str,
    *,
    defaults: dict[str, Any],
    variants: str = "",
    ranges: dict[str, str] | None = None,
    state: Any,
    **traits: Any,
) -> None:
    """Add a row; ranges are known by the names of settings, and `variants` are a setting of their own."""
    settings = {**defaults, **({"variant": "auto"} if variants else {})}
    known = {key: _RANGES[key] for key in settings if key in _RANGES}
    own = {"variant": variants} if variants else {}
    kept = state if isinstance(state, dict) else {name: state}
    OPTIMIZERS.add(
        name,
        implementation,
        defaults=settings,
        ranges={**known, **own, **(ranges or {})},
        state=kept,
        **traits,
    )


OPTIMIZERS.add(
    "none",
    "techniques.optimizers.torch_optim:refuse",
    about="No training: the model is served as given",
)
_add(
    "sgd",
    "torch.optim:SGD",
    about="Stochastic gradient descent (Robbins & Monro 1951)",
    defaults={"lr": 0.2, "weight_decay": 0.0},
    variants=_OR_FUSED,
    tried_on=_TRIED_ON,
    state=buffers(0),
    space={"lr": Span(1e-3, 3.0)},
)
_add(
    "momentum",
    "torch.optim:SGD",
    about="Gradient descent with heavy-ball momentum (Polyak 1964)",
    defaults={"lr": 0.02, "momentum": 0.9, "nesterov": False, "weight_decay": 0.0},
    variants=_OR_FUSED,
    tried_on=_TRIED_ON,
    state=buffers(1),
    space={"lr": Span(1e-4, 1.0), "momentum": Span(0.5, 0.99, "complement")},
)
_add(
    "adam",
    "torch.optim:Adam",
    about="Adaptive moments (Kingma & Ba 2015)",
    defaults={"lr": 1e-3, "eps": 1e-8, "weight_decay": 0.0},
    variants=_OR_FUSED,
    state=buffers(2),
    space=_RATE,
)
_add(
    "adamw",
    "torch.optim:AdamW",
    about="Adam with decoupled weight decay (Loshchilov & Hutter 2019); adam's learning rate",
    defaults={"lr": 1e-3, "eps": 1e-8, "weight_decay": 0.01},
    variants=_OR_FUSED,
    state=buffers(2),
    space=_RATE_AND_DECAY,
)
_add(
    "rmsprop",
    "torch.optim:RMSprop",
    about="Root-mean-square propagation (Tieleman & Hinton 2012)",
    defaults={"lr": 1e-3, "alpha": 0.99, "eps": 1e-8, "momentum": 0.0, "weight_decay": 0.0},
    variants=_LOOP_OR_FOREACH,
    ranges={"alpha": _DECAY, "momentum": _DECAY},
    tried_on=_TRIED_ON,
    state=state.rmsprop,
    space=_RATE,
)
_add(
    "nesterov",
    "techniques.optimizers.nesterov:Nesterov",
    about="Accelerated gradient (Nesterov 1983; Sutskever et al. 2013); momentum's rate",
    defaults={"lr": 0.02, "momentum": 0.9, "weight_decay": 0.0},
    variants=_OR_FUSED,
    tried_on=_TRIED_ON,
    state=buffers(1),
    space={"lr": Span(1e-4, 1.0), "momentum": Span(0.5, 0.999, "complement")},
)
_add(
    "nadam",
    "torch.optim:NAdam",
    about="Adam with Nesterov's momentum (Dozat 2016)",
    defaults={
        **{"lr": 2e-3, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "momentum_decay": 4e-3},
        "weight_decay": 0.0,
    },
    variants=_LOOP_OR_FOREACH,
    ranges={"momentum_decay": _NOT_NEGATIVE},
    state=buffers(2),
    space=_RATE,
)
_add(
    "radam",
    "torch.optim:RAdam",
    about="Rectified Adam: a warm-up from the variance of its rate (Liu et al. 2020)",
    defaults={"lr": 1e-3, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "weight_decay": 0.0},
    variants=_LOOP_OR_FOREACH,
    state=buffers(2),
    space=_RATE,
)
_add(
    "adamax",
    "torch.optim:Adamax",
    about="Adam by the largest recent gradient instead of the mean square (Kingma & Ba 2015)",
    defaults={"lr": 2e-3, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "weight_decay": 0.0},
    variants=_LOOP_OR_FOREACH,
    state=buffers(2),
    space=_RATE,
)
_add(
    "adagrad",
    "torch.optim:Adagrad",
    about="Rates that fall with the sum of squared gradients (Duchi, Hazan & Singer 2011)",
    defaults={"lr": 1e-2, "eps": 1e-10, "weight_decay": 0.0},
    variants=_OR_FUSED,
    state=buffers(1),
    space={"lr": Span(1e-4, 1.0)},
)
_add(
    "adadelta",
    "torch.optim:Adadelta",
    about="Rates from the ratio of recent updates to gradients (Zeiler 2012)",
    defaults={"lr": 1.0, "rho": 0.95, "eps": 1e-6, "weight_decay": 0.0},
    variants=_LOOP_OR_FOREACH,
    state=buffers(2),
    space={"lr": Span(1e-2, 10.0), "rho": Span(0.8, 0.99, "complement")},
)
_add(
    "adafactor",
    "torch.optim:Adafactor",
    about="Mean squares by row and column, updates relative to the weights (Shazeer & Stern 2018)",
    defaults={"lr": 1e-2, "beta2_decay": -0.8, "d": 1.0, "weight_decay": 0.0},
    variants=_LOOP_OR_FOREACH,
    ranges={"beta2_decay": "(-inf, 0]", "d": "[1, inf)"},
    state=state.adafactor,
    space={"lr": Span(1e-4, 1e-1)},
    cannot="Models with complex weights",
)
_add(
    "muon",
    "techniques.optimizers.muon:build",
    about="Orthogonalized momentum for hidden matrices, AdamW for the rest (Jordan et al. 2024)",
    defaults={
        **{"lr": 0.02, "momentum": 0.95, "weight_decay": 0.0},
        **{"adamw_lr": 3e-4, "adamw_weight_decay": 0.0, "beta1": 0.9, "beta2": 0.95, "eps": 1e-10},
    },
    takes="model",
    state={"muon": buffers(1), "adamw": buffers(2)},
    space={"lr": Span(1e-3, 1e-1), "adamw_lr": Span(1e-5, 1e-2)},
    cannot="Models without a matrix beside embeddings and the output layer: nothing is left for Muon",
)
_add(
    "lamb",
    f"{_CLASSES}:Lamb",
    about="Adam scaled layer by layer to the weights, for large batches (You et al. 2020)",
    defaults={"lr": 1e-3, "beta1": 0.9, "beta2": 0.999, "eps": 1e-6, "weight_decay": 0.01},
    variants=_LOOP_OR_FOREACH,
    state=buffers(2),
    space={"lr": Span(1e-4, 1e-1), "weight_decay": Span(1e-4, 1.0)},
    cannot="Weights that begin at 0 move by Adam's step until they are not",
    **_PACKAGE,
)
_add(
    "lars",
    f"{_CLASSES}:Lars",
    about="Momentum scaled layer by layer to the weights, for large batches (You, Gitman & Ginsburg 2017)",
    defaults={"lr": 2.0, "momentum": 0.9, "trust_coefficient": 1e-3, "weight_decay": 5e-4},
    variants=_LOOP_OR_FOREACH,
    ranges={"trust_coefficient": _POSITIVE},
    state=buffers(1),
    space={"lr": Span(0.1, 30.0), "weight_decay": Span(1e-5, 1e-2)},
    **_PACKAGE,
)
_add(
    "lion",
    f"{_CLASSES}:Lion",
    about="Signs of interpolated momentum, found by search over programs (Chen et al. 2023)",
    defaults={"lr": 1e-4, "beta1": 0.9, "beta2": 0.99, "weight_decay": 0.0},
    variants=_LOOP_OR_FOREACH,
    state=buffers(1),
    space={"lr": Span(1e-6, 1e-2), "weight_decay": Span(1e-3, 10.0)},
    **_PACKAGE,
)
_add(
    "sophia",
    f"{_CLASSES}:Sophia",
    about="Momentum over a clipped diagonal of the Hessian, Sophia-H (Liu et al. 2024)",
    defaults={
        **{"lr": 6e-4, "beta1": 0.96, "beta2": 0.99, "gamma": 0.01, "eps": 1e-12, "weight_decay": 0.2},
        "update_period": 10,
    },
    variants=_LOOP_OR_FOREACH,
    state=buffers(2),
    surplus={"sophia": buffers(1)},
    surplus_about="the last estimate of the Hessian, beside its mean",
    space={"lr": Span(1e-5, 1e-1), "gamma": Span(1e-3, 1.0), "weight_decay": Span(1e-3, 1.0)},
    cannot="Models that are compiled, in fp16, or with an operator that has no second derivative: it takes "
    "gradients of gradients",
    **_PACKAGE,
)
_add(
    "soap",
    f"{_CLASSES}:Soap",
    about="Adam in the eigenbasis of Shampoo's factors (Vyas et al. 2025)",
    defaults={
        **{"lr": 3e-3, "beta1": 0.95, "beta2": 0.95, "eps": 1e-8, "weight_decay": 0.01},
        **{"precondition_frequency": 10, "max_precondition_dim": 10000},
    },
    ranges={"max_precondition_dim": "[1, inf)"},
    state=state.soap,
    space={"lr": Span(1e-4, 1e-1), "weight_decay": Span(1e-4, 1.0)},
    cannot="Models with complex weights",
    **_PACKAGE,
)
_add(
    "shampoo",
    f"{_CLASSES}:Shampoo",
    about="A factor for each dimension of a tensor (Gupta, Koren & Singer 2018), in blocks and with SGD's "
    "length of step (Anil et al. 2020)",
    defaults={
        **{"lr": 0.02, "beta1": 0.9, "beta2": 0.999, "matrix_eps": 1e-6, "weight_decay": 0.0},
        **{"period": 20, "start": 25, "block_size": 512},
    },
    ranges={"matrix_eps": _POSITIVE},
    tried_on=_TRIED_ON,
    state=state.shampoo,
    space={"lr": Span(1e-4, 1.0), "beta1": Span(0.5, 0.99, "complement")},
    cannot="Models with complex weights",
    **_PACKAGE,
)
_add(
    "psgd-kron",
    f"{_CLASSES}:Kron",
    about="Kronecker factors that are fitted step by step (Li 2018; Pooladzandi & Li 2024)",
    defaults={"lr": 1e-3, "momentum": 0.9, "max_size_triangular": 8192, "weight_decay": 0.0},
    ranges={"max_size_triangular": _NOT_NEGATIVE},
    state=state.kron,
    space=_RATE_AND_DECAY,
    cannot="Models with complex weights, or a tensor of over 13 dimensions",
    **_PACKAGE,
)
_add(
    "ademamix",
    f"{_CLASSES}:AdEMAMix",
    about="AdamW with a second, slow mean of gradients (Pagliardini, Ablin & Grangier 2025)",
    defaults={
        **{"lr": 1e-3, "beta1": 0.9, "beta2": 0.999, "beta3": 0.9999, "alpha": 5.0, "eps": 1e-8},
        **{"weight_decay": 0.0, "warm_up_steps": 0},
    },
    variants=_LOOP_OR_FOREACH,
    state=buffers(3),
    space={**_RATE_AND_DECAY, "beta3": Span(0.99, 0.9999, "complement"), "alpha": Span(1.0, 10.0)},
    cannot="Models with complex weights",
    **_PACKAGE,
)
_add(
    "mars",
    f"{_CLASSES}:Mars",
    about="AdamW on gradients corrected by the last ones, for matrices (Yuan et al. 2024)",
    defaults={
        **{"lr": 3e-3, "beta1": 0.95, "beta2": 0.99, "gamma": 0.025, "eps": 1e-8, "weight_decay": 0.0},
        **{"lr_1d": 3e-3, "weight_decay_1d": 0.1},
    },
    variants=_LOOP_OR_FOREACH,
    ranges={"lr_1d": _POSITIVE, "weight_decay_1d": _NOT_NEGATIVE},
    state={"mars": buffers(3), "adamw": buffers(2)},
    surplus={"adamw": buffers(1)},
    surplus_about="the last gradient of vectors, which their AdamW does not read",
    space={"lr": Span(1e-4, 1e-1), "gamma": Span(1e-3, 0.1), "lr_1d": Span(1e-4, 1e-1)},
    **_PACKAGE,
)
_add(
    "adopt",
    f"{_CLASSES}:Adopt",
    about="Adam by the mean square before the gradient at hand (Taniguchi et al. 2024)",
    defaults={"lr": 1e-3, "beta1": 0.9, "beta2": 0.9999, "eps": 1e-6, "weight_decay": 0.0},
    variants=_LOOP_OR_FOREACH,
    state=buffers(2),
    space=_RATE_AND_DECAY,
    **_PACKAGE,
)
_add(
    "prodigy",
    f"{_CLASSES}:Prodigy",
    about="Adam with a rate estimated from the distance to the solution (Mishchenko & Defazio 2024)",
    defaults={"lr": 1.0, "beta1": 0.9, "beta2": 0.999, "d0": 1e-6, "eps": 1e-8, "weight_decay": 0.0},
    variants=_LOOP_OR_FOREACH,
    ranges={"d0": _POSITIVE},
    state=state.prodigy,
    space={"lr": Span(0.1, 10.0), "weight_decay": Span(1e-4, 1.0)},
    cannot="Models with complex weights",
    **_PACKAGE,
)
_add(
    "schedule-free-adamw",
    "techniques.optimizers.schedule_free:AdamWScheduleFree",
    about="AdamW whose evaluated weights are an average of the trained ones (Defazio et al. 2024)",
    defaults={
        **{"lr": 2.5e-3, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "weight_decay": 0.0},
        "warmup_steps": 0,
    },
    variants=_LOOP_OR_FOREACH,
    ranges={"warmup_steps": _NOT_NEGATIVE, "beta1": "(0, 1)"},
    state=buffers(2),
    space={**_RATE_AND_DECAY, "beta1": Span(0.8, 0.99, "complement")},
    cannot="Batch normalization knows the trained weights, not their average: its statistics are off",
    **_SCHEDULE_FREE,
)
_add(
    "schedule-free-sgd",
    "techniques.optimizers.schedule_free:SGDScheduleFree",
    about="Gradient descent whose evaluated weights are an average of the trained ones (Defazio et al. 2024)",
    defaults={"lr": 1.0, "momentum": 0.9, "weight_decay": 0.0, "warmup_steps": 0},
    variants=_LOOP_OR_FOREACH,
    ranges={"warmup_steps": _NOT_NEGATIVE},
    state=buffers(1),
    space={"lr": Span(1e-2, 30.0), "momentum": Span(0.8, 0.99, "complement")},
    cannot="Batch normalization knows the trained weights, not their average: its statistics are off",
    **_SCHEDULE_FREE,
)
_add(
    "adamw-8bit",
    "techniques.optimizers.torchao_adamw:AdamW8bits",
    about="AdamW with its two means in 8 bits by blocks (Dettmers et al. 2022)",
    defaults={"lr": 1e-3, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "weight_decay": 0.01},
    state=state.adam_8bit,
    space=_RATE_AND_DECAY,
    needs=("torchao",),
    install="pip install torchao",
    check="techniques.backends.hardware:without_cpp_compiler",
    cannot="Models with complex weights or sparse gradients",
)
