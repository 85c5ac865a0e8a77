"""Averages of weights: which share the weights after each step have in the average so far.

After step number `step`, from 0, of `steps` that are planned.
"""

from __future__ import annotations


def none(step: int, steps: int) -> float:
    """Return 0: there is no average."""
    return 0.0


def ema(step: int, steps: int, decay: float) -> float:
    """Return the share in an exponential moving average whose shares add up to 1 from the first step on.

    After n steps, weights of k steps back count decay^k · (1 - decay) / (1 - decay^n). Sources: Polyak &
    Juditsky 1992, "Acceleration of Stochastic Approximation by Averaging"; Tarvainen & Valpola 2017, "Mean
    Teachers"; the correction is that of Kingma & Ba 2015, "Adam", section 3.
    """
    return (1 - decay) / (1 - decay ** (step + 1))


def mean(step: int, steps: int, share: float) -> float:
    """Return the share in a mean over the last `share` of the planned steps, 0 before them.

    Sources: Polyak & Juditsky 1992; Izmailov et al. 2018, "Averaging Weights Leads to Wider Optima and Better
    Generalization", here after every step.
    """
    before = step - (steps - max(round(share * steps), 1))
    return 1 / (before + 1) if before >= 0 else 0.0
