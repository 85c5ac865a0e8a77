"""What a row of the table of optimizers says: settings to tune, the state kept, what it cannot train."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from techniques.registry import Row
from techniques.settings import Setting


@dataclass(frozen=True)
class Span:
    """What a setting is searched in: from `low` to `high`, evenly on its scale.

    `log`: evenly in the logarithm. `complement`: evenly in the logarithm of 1 - x, for rates close to 1.
    """

    low: float
    high: float
    scale: Literal["log", "linear", "complement"] = "log"

    def at(self, share: float) -> float:
        """Return the value at a share of the span, 0 is `low` and 1 is `high`."""
        low, high = _forward(self.low, self.scale), _forward(self.high, self.scale)
        return _back(low + share * (high - low), self.scale)

    def __str__(self) -> str:
        return f"{self.low:g} to {self.high:g}, {self.scale}"


def _forward(value: float, scale: str) -> float:
    if scale == "linear":
        return value
    return math.log(value) if scale == "log" else -math.log1p(-value)


def _back(value: float, scale: str) -> float:
    if scale == "linear":
        return value
    return math.exp(value) if scale == "log" else -math.expm1(-value)


@dataclass(frozen=True)
class Shape:
    """The shape of a parameter, and the bytes of each of its elements."""

    sizes: tuple[int, ...]
    itemsize: int = 4

    @property
    def elements(self) -> int:
        """Return how many elements the parameter has; a scalar has one."""
        return math.prod(self.sizes)

    @property
    def bytes(self) -> int:
        """Return the bytes of the parameter."""
        return self.elements * self.itemsize


State = Callable[[Sequence[Shape], Mapping[str, Setting]], int]
"""From the parameters of a group and the row's settings, the bytes that an optimizer keeps for them."""


@dataclass(frozen=True)
class OptimizerRow(Row):
    """An optimizer: `about` names its paper, `defaults` are as published.

    `tried_on` names the workload on whose data the default rate was chosen, where no paper has one. `space`
    is what its settings are searched in: its rate, and what else its paper tunes. `state` gives the bytes
    that it keeps by theory, for each group of parameters; a row of one group has it under its own name.
    `surplus` gives those that this implementation keeps beyond the theory, and `surplus_about` what they are.
    `takes` says what `implementation` is called with: the named parameters, or the model, where it has to
    know which parameters are embeddings. `cannot` says what it does not train, and why. `own_average`: it
    evaluates an average of the weights that it trains, which stands for a schedule.
    """

    tried_on: str = ""
    space: Mapping[str, Span] = field(default_factory=dict)
    state: Mapping[str, State] = field(default_factory=dict)
    surplus: Mapping[str, State] = field(default_factory=dict)
    surplus_about: str = ""
    takes: Literal["parameters", "model"] = "parameters"
    cannot: str = ""
    own_average: bool = False

    def check_traits(self) -> None:
        """Raise ValueError as `Row` does, and where a span is not one of a setting's values."""
        super().check_traits()
        for key, span in self.space.items():
            if not isinstance(self.defaults.get(key), float):
                raise ValueError(f"space: {key!r} is not a setting that is a number")
            if not span.low < span.high:
                raise ValueError(f"space: {key!r} must go from low to high, got {span}")
            for end in (span.low, span.high):
                self.read(key, f"{end:g}")
        if self.surplus.keys() - self.state.keys() or bool(self.surplus) != bool(self.surplus_about):
            raise ValueError("surplus: needs a state of the same group, and surplus_about")

    def state_bytes(
        self, groups: Mapping[str, Sequence[Shape]], settings: Mapping[str, Setting]
    ) -> int | None:
        """Return the bytes of state by theory for parameters by group; None where the row declares none."""
        if any(name not in self.state for name in groups):
            return None
        return sum(self.state[name](shapes, settings) for name, shapes in groups.items())

    def surplus_bytes(self, groups: Mapping[str, Sequence[Shape]], settings: Mapping[str, Setting]) -> int:
        """Return the bytes of state that this implementation keeps beyond the theory."""
        return sum(
            self.surplus[name](shapes, settings) for name, shapes in groups.items() if name in self.surplus
        )
