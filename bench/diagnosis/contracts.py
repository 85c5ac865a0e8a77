"""What every optimizer has to do, whatever it is good at: move weights, decay them, keep what it says."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from bench.diagnosis.problems import PROBLEMS
from bench.diagnosis.training import train
from bench.instruments.tensors import optimizer_state_bytes
from techniques.optimizers import OptimizerRow
from techniques.optimizers.torch_optim import grouped, swaps_weights
from techniques.registry import Technique
from techniques.settings import Setting

_SMALL = 1e-5
_STRONG_DECAY = 0.5

_SHAPING = ("momentum", "beta1", "beta2", "beta3", "alpha", "gamma", "rho", "trust_coefficient")
"""Settings that shape the steps of an optimizer, beside those that its row is searched in."""


@dataclass(frozen=True)
class Contract:
    """Something to hold for every optimizer: `breach` returns why it does not, empty where it does."""

    name: str
    about: str
    breach: Callable[[Technique[OptimizerRow]], str]


class Layers(nn.Module):
    """Parameters of every shape: a kernel, matrices of which one is large enough for 8 bits, vectors."""

    def __init__(self) -> None:
        super().__init__()
        self.kernel = nn.Conv2d(2, 3, 3)
        self.matrix = nn.Linear(64, 64)
        self.small = nn.Linear(4, 3)
        self.output = nn.Linear(3, 2)


def _layers() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Layers()


def _bowl(model: nn.Module, random: torch.Generator) -> torch.Tensor:
    """Return a loss with its minimum at 1: a gradient of every element, also of one that is 0."""
    losses = [(parameter - 1).square().sum() for parameter in model.parameters()]
    return 0.5 * torch.stack(losses).sum()


def _noisy(model: nn.Module, random: torch.Generator) -> torch.Tensor:
    """Return the bowl with another slope at each step, so that gradients change their signs."""
    slopes = [
        (3 * torch.randn(parameter.shape, generator=random) * parameter).sum()
        for parameter in model.parameters()
    ]
    return _bowl(model, random) + torch.stack(slopes).sum()


def _flat(model: nn.Module, random: torch.Generator) -> torch.Tensor:
    return 0.0 * _bowl(model, random)


def _with(technique: Technique[OptimizerRow], **settings: Setting) -> Technique[OptimizerRow]:
    known = {key: value for key, value in settings.items() if key in technique.settings}
    return Technique(technique.row, {**technique.settings, **known})


def _without_decay(technique: Technique[OptimizerRow]) -> Technique[OptimizerRow]:
    none: Mapping[str, Any] = {key: 0.0 for key in technique.settings if "weight_decay" in key}
    return _with(technique, **none)


def _moved(technique: Technique[OptimizerRow], steps: int, loss: Any = _bowl) -> dict[str, torch.Tensor]:
    """Return how far each parameter is from its start after these steps."""
    model, start = _layers(), dict(_layers().named_parameters())
    train(technique, model, loss, steps)
    return {name: (entry.detach() - start[name].detach()).norm() for name, entry in model.named_parameters()}


def _moves(technique: Technique[OptimizerRow]) -> str:
    still = [name for name, length in _moved(technique, 3).items() if not 0 < length < float("inf")]
    return f"after 3 steps these have not moved: {', '.join(still)}" if still else ""


def _stays(technique: Technique[OptimizerRow]) -> str:
    moved = [name for name, length in _moved(_without_decay(technique), 3, _flat).items() if length > _SMALL]
    return f"gradients of 0 move {', '.join(moved)}" if moved else ""


def _decays(technique: Technique[OptimizerRow]) -> str:
    if "weight_decay" not in technique.settings:
        return ""
    steps = 20
    lengths = []
    for decay in (0.0, _STRONG_DECAY):
        model = _layers()
        train(_with(_without_decay(technique), weight_decay=decay), model, _bowl, steps)
        assert isinstance(model, Layers)
        lengths.append(model.matrix.weight.norm().item())
    without, decayed = lengths
    return "" if decayed < without else f"weight_decay={_STRONG_DECAY} does not shrink the weights"


def _rate(technique: Technique[OptimizerRow]) -> str:
    lr = float(technique.settings["lr"])
    far, near = (
        sum(length.item() for length in _moved(_with(technique, lr=rate), 2).values())
        for rate in (lr, lr / 10)
    )
    return "" if near < 0.5 * far else "a tenth of the rate moves the weights as far"


def _settings(technique: Technique[OptimizerRow]) -> str:
    known = {*_SHAPING, *technique.row.space}
    tried = {
        name: _other(technique.row, name, value)
        for name, value in technique.settings.items()
        if name in known and isinstance(value, float) and value
    }
    steps = 12 + int(technique.settings.get("start", 0))
    whole = _moved(technique, steps, _noisy)
    idle = [
        name
        for name, value in tried.items()
        if all(
            torch.equal(length, whole[weight])
            for weight, length in _moved(_with(technique, **{name: value}), steps, _noisy).items()
        )
    ]
    return f"another value of {', '.join(idle)} changes no step" if idle else ""


def _other(row: OptimizerRow, name: str, value: float) -> Setting:
    """Return half of a setting, or twice where half is out of its range."""
    try:
        return row.read(name, f"{value / 2:.12g}")
    except ValueError:
        return row.read(name, f"{2 * value:.12g}")


def _repeats(technique: Technique[OptimizerRow]) -> str:
    one, other = (_moved(technique, 12) for _ in range(2))
    apart = [name for name, length in one.items() if not torch.equal(length, other[name])]
    return f"a second time {', '.join(apart)} moved otherwise" if apart else ""


def _leaves(technique: Technique[OptimizerRow]) -> str:
    model, start = _layers(), _layers()
    assert isinstance(model, Layers) and isinstance(start, Layers)
    model.small.requires_grad_(False)
    train(technique, model, _bowl, 3)
    return "" if torch.equal(model.small.weight, start.small.weight) else "weights without gradient move"


def _state(technique: Technique[OptimizerRow]) -> str:
    model = _layers()
    optimizer = train(technique, model, _bowl, 2)
    groups = {label: list(own.values()) for label, own in grouped(optimizer, model, technique.name).items()}
    theory, measured = technique.row.state_bytes(groups, technique.settings), optimizer_state_bytes(optimizer)
    surplus = technique.row.surplus_bytes(groups, technique.settings)
    if theory is None or theory + surplus == measured:
        return ""
    known = f" and {surplus:,} ({technique.row.surplus_about})" if surplus else ""
    return f"keeps {measured:,} bytes, by theory {theory:,}{known}"


def _variants(technique: Technique[OptimizerRow]) -> str:
    words = technique.row.ranges.get("variant", "") if "variant" in technique.settings else ""
    lengths = {
        word.strip(): torch.stack(list(_moved(_with(technique, variant=word.strip()), 10).values()))
        for word in words.split(",")
        if word
    }
    if not lengths:
        return ""
    first = next(iter(lengths.values()))
    apart = [word for word, own in lengths.items() if not torch.allclose(own, first, rtol=1e-4, atol=1e-6)]
    return f"{', '.join(apart)} take other steps" if apart else ""


def _swaps(technique: Technique[OptimizerRow]) -> str:
    model = _layers()
    optimizer = train(technique, model, _bowl, 5)
    if not swaps_weights(optimizer):
        return ""
    evaluated = model.state_dict()
    before = {name: entry.clone() for name, entry in evaluated.items()}
    optimizer.train()
    optimizer.eval()
    same = all(torch.allclose(entry, before[name], atol=1e-4) for name, entry in model.state_dict().items())
    return "" if same else "train() and eval() do not bring the weights back"


def _default(technique: Technique[OptimizerRow]) -> str:
    problem = next(problem for problem in PROBLEMS if problem.name == "parity")
    model = problem.model()
    first = problem.gap(model).item()
    train(technique, model, problem.loss, 100)
    last = problem.gap(model).item()
    if last < first:
        return ""
    return f"in 100 steps at its defaults the loss goes from {first:.3g} to {last:.3g}"


CONTRACTS = (
    Contract("moves", "every parameter moves within 3 steps", _moves),
    Contract("stays", "gradients of 0 leave the weights", _stays),
    Contract("leaves", "weights that are not trained stay", _leaves),
    Contract("learns", "at its defaults a small net's loss falls", _default),
    Contract("rate", "a tenth of the rate moves less", _rate),
    Contract("settings", "each setting that shapes the steps does", _settings),
    Contract("decays", "weight decay shrinks the weights", _decays),
    Contract("repeats", "the same seed gives the same bits", _repeats),
    Contract("state", "the state has the bytes of the theory", _state),
    Contract("variants", "loop, foreach and fused take the same steps", _variants),
    Contract("swaps", "weights come back after an evaluation", _swaps),
)
