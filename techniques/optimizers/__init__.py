"""The table of optimizers: what updates the weights from their gradients."""

from techniques.registry import Registry, Row

OPTIMIZERS: Registry[Row] = Registry("optimizer", Row, entry_points="bench.optimizers")

_add = OPTIMIZERS.add

_RANGES = {"lr": "(0, inf)", "weight_decay": "[0, inf)"}
_EPS = {"eps": "(0, inf)"}

# Two or three learning rates were tried for each, a factor of 1.5 to 2.5 apart; this one held 90 % test
# accuracy on fashion-mnist-simplecnn in the fewest steps.

_add(
    "none",
    "techniques.optimizers.torch_optim:refuse",
    about="No training: the model is served as given",
)
_add(
    "sgd",
    "torch.optim:SGD",
    about="Stochastic gradient descent (Robbins & Monro 1951)",
    defaults={"lr": 0.2, "weight_decay": 0.0},
    ranges=_RANGES,
)
_add(
    "momentum",
    "torch.optim:SGD",
    about="Gradient descent with heavy-ball momentum (Polyak 1964)",
    defaults={"lr": 0.02, "momentum": 0.9, "nesterov": False, "weight_decay": 0.0},
    ranges=_RANGES | {"momentum": "(0, 1)"},
)
_add(
    "adam",
    "torch.optim:Adam",
    about="Adaptive moments (Kingma & Ba 2015)",
    defaults={"lr": 1e-3, "eps": 1e-8, "weight_decay": 0.0},
    ranges=_RANGES | _EPS,
)
_add(
    "adamw",
    "torch.optim:AdamW",
    about="Adam with decoupled weight decay (Loshchilov & Hutter 2019); adam's learning rate",
    defaults={"lr": 1e-3, "eps": 1e-8, "weight_decay": 0.01},
    ranges=_RANGES | _EPS,
)
_add(
    "rmsprop",
    "torch.optim:RMSprop",
    about="Root-mean-square propagation (Tieleman & Hinton 2012)",
    defaults={"lr": 1e-3, "alpha": 0.99, "eps": 1e-8, "momentum": 0.0},
    ranges={"lr": "(0, inf)", "alpha": "[0, 1)", "momentum": "[0, 1)"} | _EPS,
)
