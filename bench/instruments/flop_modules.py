"""A model's forward FLOPs module by module, ours beside fvcore's, and why the two differ."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from bench.instruments.flops import counting, evaluating
from bench.instruments.fvcore_count import Traced, trace
from bench.instruments.operators import may_compute

# What fvcore 0.1.5 counts beside multiply-adds: 1 to 5 for each element.
_NORMS = ("batch_norm", "layer_norm", "group_norm", "instance_norm")
_ALSO_COUNTED = (*_NORMS, "upsample", "grid_sampler", "adaptive_avg_pool", "softmax")


@dataclass(frozen=True)
class ModuleFlops:
    """Forward FLOPs of one module with all that it calls; `fvcore` is None where it could not count.

    `unknown` names operators without a formula; `why` says where the difference to fvcore comes from.
    """

    name: str
    kind: str
    ours: int
    fvcore: int | None
    unknown: tuple[str, ...]
    why: str


def module_flops(model: torch.nn.Module, example: torch.Tensor) -> list[ModuleFlops]:
    """Return a row for the model (its name is empty) and for each module of it that ran, in order.

    A module that is called twice counts twice, under its first name. What TorchScript has compiled counts in
    the module that calls it, and has no rows of its own. The model runs once in evaluation mode
    without gradients, once more for fvcore (Meta's library), whose multiply-adds are doubled. Raises whatever
    the model raises.
    """
    totals, unknown = _count(model, example)
    traced = trace(model, example)
    kinds = {name: type(module).__name__ for name, module in model.named_modules()}
    rows = []
    for name, total in totals.items():
        theirs = None if traced is None else 2 * traced.macs(name)
        missing = tuple(sorted(unknown[name]))
        why = "fvcore could not trace the model" if traced is None else _why(total, traced, name)
        rows.append(ModuleFlops(name, kinds[name], total, theirs, missing, why))
    return rows


def _count(model: torch.nn.Module, example: torch.Tensor) -> tuple[dict[str, int], dict[str, set[str]]]:
    """Count each module with what it calls: between two borders all counts for every module that is open."""
    names = {module: name for name, module in model.named_modules()}
    totals: dict[str, int] = {}
    unknown: dict[str, set[str]] = {}
    opened: list[str] = []

    def border() -> None:
        taken = counter.take()
        for name in dict.fromkeys(opened):
            totals[name] += taken.total
            unknown[name].update(taken.unknown)

    def enter(module: torch.nn.Module, *_: object) -> None:
        border()
        opened.append(names[module])
        totals.setdefault(names[module], 0)
        unknown.setdefault(names[module], set())

    def leave(*_: object) -> None:
        border()
        opened.pop()

    modules = [module for module in names if not isinstance(module, torch.jit.ScriptModule)]
    handles = [module.register_forward_pre_hook(enter) for module in modules]
    handles += [module.register_forward_hook(leave) for module in modules]
    try:
        with evaluating(model), counting() as counter:
            if model in modules:
                model(example)
            else:  # a script takes no hooks
                enter(model)
                model(example)
                leave()
    finally:
        for handle in handles:
            handle.remove()
    unknown[""].update(counter.take().unknown)  # named at the end: what the counter did not see
    return totals, unknown


def _why(ours: int, traced: Traced, name: str) -> str:
    """Say what makes fvcore's count another than ours, as far as its own report tells; empty where equal."""
    counted = traced.by_operator.get(name, {})
    if 2 * sum(counted.values()) == ours:
        return ""
    if name not in traced.by_operator:
        return "fvcore's trace never called it"
    extra = {op: n for op, n in counted.items() if any(known in op for known in _ALSO_COUNTED)}
    missed = [op for op in traced.passed_over.get(name, {}) if may_compute(*_split(op))]
    reasons = [f"fvcore counts {op} too ({2 * n:,})" for op, n in sorted(extra.items()) if n]
    reasons += [f"fvcore has no count for {op}" for op in sorted(missed)]
    rest = 2 * (sum(counted.values()) - sum(extra.values())) - ours
    if rest and not missed:
        reasons.append(f"{rest:+,} not explained")
    return "; ".join(reasons)


def _split(operator: str) -> tuple[str, str]:
    namespace, _, name = operator.partition("::")
    return namespace, name
