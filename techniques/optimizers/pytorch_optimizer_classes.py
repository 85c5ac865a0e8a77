"""Optimizers of pytorch-optimizer, each with the arguments that make it what its paper describes.

The classes of that package take over a hundred arguments together; those fixed here are no settings. Its
`Fromage` and `Nero` are not free for commercial use, and are not among these.
"""

from __future__ import annotations

from typing import Any

import pytorch_optimizer
import torch
from pytorch_optimizer.optimizer.utils.graft import LayerWiseGrafting

from techniques.optimizers.torch_optim import LABEL, LOOP
from techniques.registry import CannotApply


class Lion(pytorch_optimizer.Lion):
    """Weight decay is decoupled, as in algorithm 2 of Chen et al. 2023."""

    def __init__(self, parameters: Any, **settings: Any) -> None:
        super().__init__(parameters, weight_decouple=True, **settings)


class Lamb(pytorch_optimizer.Lamb):
    """Weight decay is part of the update that the trust ratio scales, as in algorithm 2 of You et al. 2020.

    Without bias correction, which the ratio cancels but for `eps`. The package would correct the rate
    instead, and so take a first step ten times as long.
    """

    def __init__(self, parameters: Any, **settings: Any) -> None:
        super().__init__(parameters, weight_decouple=False, adam_debias=True, **settings)


class Lars(pytorch_optimizer.LARS):
    """Vectors take plain steps of momentum, without weight decay and trust ratio, as is usual."""


class Sophia(pytorch_optimizer.SophiaH):
    """Sophia-H (Liu et al. 2024), with the paper's rate and `gamma`.

    The paper's update is lr · clip(m / max(gamma · h, eps), 1), the package's lr' · clip(m / max(h, eps), p).
    They are one for p = gamma and lr' = lr / gamma. Every `update_period` steps the diagonal h of the Hessian
    is estimated, which takes gradients of the gradients.
    """

    def __init__(
        self,
        parameters: Any,
        lr: float,
        gamma: float,
        eps: float,
        weight_decay: float,
        update_period: int,
        **settings: Any,
    ) -> None:
        self.period = update_period
        super().__init__(
            parameters,
            lr=lr / gamma,
            p=gamma,
            eps=eps / gamma,
            weight_decay=weight_decay * gamma,
            weight_decouple=True,
            update_period=update_period,
            **settings,
        )

    @property
    def differentiates_twice(self) -> bool:
        """Say whether the next step estimates the Hessian."""
        return bool(self.param_groups[0].get("step", 0) % self.period == 0)

    @staticmethod
    @torch.no_grad()
    def compute_hutchinson_hessian(
        param_groups: list[dict[str, Any]], state: Any, num_samples: int = 1, **_: Any
    ) -> None:
        """Add z · (H z) for a z of normal random numbers to the estimates.

        Raises CannotApply where gradients do not depend on a weight, in one line; the package's own does it
        in PyTorch's words.
        """
        weights = [weight for group in param_groups for weight in group["params"] if weight.grad is not None]
        noise = [torch.randn_like(weight) for weight in weights]
        gradients = [weight.grad for weight in weights]
        if not all(gradient.requires_grad for gradient in gradients):
            raise CannotApply(_NO_CURVATURE)
        products = torch.autograd.grad(gradients, weights, noise, allow_unused=True)
        for weight, z, product in zip(weights, noise, products, strict=True):
            if product is None:
                raise CannotApply(_NO_CURVATURE)
            state[weight]["hessian"].addcmul_(product, z)


_NO_CURVATURE = (
    "sophia: the gradients do not depend on some of the weights: an operator has no second derivative, or "
    "the loss is linear in them"
)


class Soap(pytorch_optimizer.SOAP):
    """Its first step only looks at the gradients, as in the authors' code (Vyas et al. 2025)."""

    variant = LOOP

    def __init__(self, parameters: Any, precondition_frequency: int, **settings: Any) -> None:
        self.period = precondition_frequency
        super().__init__(parameters, precondition_frequency=precondition_frequency, **settings)


class Shampoo(pytorch_optimizer.ScalableShampoo):
    """Shampoo with the length of a step grafted from SGD (Anil et al. 2020).

    Dimensions are not merged: a tensor of k dimensions has k factors, as in Gupta, Koren & Singer 2018. The
    package would merge all of a small layer's, and leave the layer to SGD.
    """

    variant = LOOP

    def __init__(self, parameters: Any, period: int, start: int, **settings: Any) -> None:
        self.period = period
        super().__init__(
            parameters,
            preconditioning_compute_steps=period,
            start_preconditioning_step=start,
            graft_type=LayerWiseGrafting.SGD,
            shape_interpretation=False,
            decoupled_weight_decay=True,
            **settings,
        )


class Kron(pytorch_optimizer.Kron):
    """PSGD with Kronecker factors. Its balancing is left out, which NumPy's own random numbers decide."""

    variant = LOOP

    def __init__(self, parameters: Any, **settings: Any) -> None:
        super().__init__(parameters, weight_decouple=True, balance_prob=0.0, **settings)


class AdEMAMix(pytorch_optimizer.AdEMAMix):
    """Weight decay is decoupled, as in Pagliardini, Ablin & Grangier 2025."""

    def __init__(self, parameters: Any, warm_up_steps: int, **settings: Any) -> None:
        super().__init__(parameters, weight_decouple=True, t_alpha_beta3=warm_up_steps or None, **settings)


class Mars(pytorch_optimizer.MARS):
    """MARS-AdamW (Yuan et al. 2024) for matrices; AdamW with a rate of its own for vectors."""

    def __init__(self, parameters: Any, **settings: Any) -> None:
        given = list(parameters)
        matrices = [parameter for parameter in given if parameter.dim() > 1]
        vectors = [parameter for parameter in given if parameter.dim() < 2]
        groups = [{"params": matrices, LABEL: "mars"}, {"params": vectors, LABEL: "adamw"}]
        super().__init__([group for group in groups if group["params"]], **settings)


class Adopt(pytorch_optimizer.ADOPT):
    """The step that the bound of the update grows with is counted as in Taniguchi et al. 2024.

    The package counts the first step too, which only looks at the gradients.
    """

    def __init__(self, parameters: Any, **settings: Any) -> None:
        super().__init__(parameters, weight_decouple=True, clip_lambda=_bound, **settings)


def _bound(step: float) -> float:
    return max(step - 1.0, 1.0) ** 0.25


class Prodigy(pytorch_optimizer.Prodigy):
    """As its authors' code by default (Mishchenko & Defazio 2024)."""

    def __init__(self, parameters: Any, **settings: Any) -> None:
        super().__init__(parameters, weight_decouple=True, **settings)
