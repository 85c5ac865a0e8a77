"""Schedules: what a learning rate is multiplied by in each of the steps that are planned.

In step number `step`, from 0, of `steps`. A warm-up rises in a line to 1 in its last step, and never is 0.
"""

from __future__ import annotations

import math


def constant(step: int, steps: int, warmup: float) -> float:
    """Return 1, after a warm-up over this share of the steps.

    As `torch.optim.lr_scheduler.LinearLR`. Source: Goyal et al. 2017, "Accurate, Large Minibatch SGD".
    """
    rising = _warm_up_steps(steps, warmup)
    return (step + 1) / rising if step < rising else 1.0


def cosine(step: int, steps: int, warmup: float, final: float) -> float:
    """Return half a cosine from 1 to `final`, after a warm-up over this share of the steps.

    As `CosineAnnealingLR`. Source: Loshchilov & Hutter 2017, "SGDR: Stochastic Gradient Descent with Warm
    Restarts", without restarts.
    """
    rising = _warm_up_steps(steps, warmup)
    if step < rising:
        return constant(step, steps, warmup)
    return _between(1.0, final, (step - rising) / (steps - rising), "cosine")


def linear(step: int, steps: int, warmup: float, final: float) -> float:
    """Return a line from 1 to `final`, after a warm-up over this share of the steps.

    As `LinearLR`. Source: Defazio et al. 2023, "When, Why and How Much? Adaptive Learning Rate Scheduling by
    Refinement".
    """
    rising = _warm_up_steps(steps, warmup)
    if step < rising:
        return constant(step, steps, warmup)
    return _between(1.0, final, (step - rising) / (steps - rising), "linear")


def wsd(step: int, steps: int, warmup: float, decay: float, final: float, shape: str) -> float:
    """Return 1 until the last share `decay` of the steps, then a fall to `final`.

    Sources: Zhai et al. 2022, "Scaling Vision Transformers"; Hu et al. 2024, "MiniCPM"; Hägele et al. 2024,
    "Scaling Laws and Compute-Optimal Training Beyond Fixed Training Durations" (`sqrt`).
    """
    falling = min(max(round(decay * steps), 1), steps - _warm_up_steps(steps, warmup))
    start = steps - falling
    if step < start:
        return constant(step, steps, warmup)
    return _between(1.0, final, (step - start) / falling, shape)


def one_cycle(step: int, steps: int, warmup: float, start: float, final: float, shape: str) -> float:
    """Return a rise from `start` to 1 over this share of the steps, then a fall to `final` in the last one.

    As `OneCycleLR`, whose `div_factor` is 1 / start and whose `final_div_factor` start / final. Source: Smith
    & Topin 2019, "Super-Convergence".
    """
    top = warmup * steps - 1
    if step < top:
        return _between(start, 1.0, step / top, shape)
    return _between(1.0, final, (step - top) / (steps - 1 - top), shape)


def _warm_up_steps(steps: int, share: float) -> int:
    return min(round(share * steps), steps - 1)


def _between(first: float, last: float, share: float, shape: str) -> float:
    """Return what lies at a share of the way, at most all of it."""
    share = min(share, 1.0)
    if shape == "cosine":
        share = (1 - math.cos(math.pi * share)) / 2
    elif shape == "sqrt":
        share = math.sqrt(share)
    return first + (last - first) * share
