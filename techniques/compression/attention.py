"""Attention heads: where a model has them, and how whole ones are removed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import nn

from techniques.compression import pruning
from techniques.compression.context import Context
from techniques.compression.runs import checked_shape
from techniques.parametrizations import make_plain
from techniques.registry import CannotApply


@dataclass(frozen=True)
class Attention:
    """The heads of one module.

    Each of `inputs` gives queries, keys or values, a `fused` one all three in turn; `output` mixes the heads.
    `counts` and `widths` name the module's attributes that hold the number of heads, and their channels.
    """

    name: str
    module: nn.Module
    inputs: tuple[nn.Linear, ...]
    output: nn.Linear
    counts: tuple[str, ...]
    widths: tuple[str, ...] = ()
    fused: bool = False

    @property
    def heads(self) -> int:
        return cast(int, getattr(self.module, self.counts[0]))

    @property
    def width(self) -> int:
        """The channels of one head."""
        return self.output.in_features // self.heads


def prune_heads(model: nn.Module, context: Context, *, share: float) -> nn.Module:
    """Remove `share` of the heads of each attention, those that the loss counts least; recover.

    A head's score is the mean over calibration samples of |gradient of the loss, of a factor on its output|.
    One head stays at least. Raises CannotApply as `_remove_heads` does. Source: Michel, Levy & Neubig 2019,
    "Are Sixteen Heads Really Better than One?" (arXiv:1905.10650), equation 2.
    """
    return _remove_heads(
        model, context, share, "prune-heads", lambda found: head_scores(model, context, found)
    )


def prune_heads_random(model: nn.Module, context: Context, *, share: float) -> nn.Module:
    """Remove `share` of the heads of each attention by lot; recover. The same go for the same seed.

    Raises CannotApply as `_remove_heads` does.
    """
    generator = torch.Generator().manual_seed(context.seed)

    def lots(found: Sequence[Attention]) -> list[torch.Tensor]:
        return [torch.rand(each.heads, generator=generator) for each in found]

    return _remove_heads(model, context, share, "prune-heads-random", lots)


def attentions(model: nn.Module) -> Iterator[Attention]:
    """Yield each attention whose heads can be removed, by the names of its layers.

    They are those of BERT and GPT-2 of transformers, and modules with `query`, `key`, `value` and `output`
    layers and a number of `heads`.
    """
    modules = dict(model.named_modules())
    for name, module in modules.items():
        separate = [getattr(module, part, None) for part in ("query", "key", "value")]
        outer = modules.get(name.rpartition(".")[0])
        bert = getattr(getattr(outer, "output", None), "dense", None)
        fused, output = getattr(module, "c_attn", None), getattr(module, "c_proj", None)
        if all(isinstance(layer, nn.Linear) for layer in separate):
            inputs = cast(tuple[nn.Linear, ...], tuple(separate))
            own = getattr(module, "output", None)
            if isinstance(own, nn.Linear) and isinstance(getattr(module, "heads", None), int):
                yield Attention(name, module, inputs, own, ("heads",))
            elif isinstance(bert, nn.Linear) and hasattr(module, "num_attention_heads"):
                counts, widths = ("num_attention_heads",), ("all_head_size",)
                yield Attention(name, module, inputs, bert, counts, widths)
        elif isinstance(fused, nn.Linear) and isinstance(output, nn.Linear) and hasattr(module, "num_heads"):
            yield Attention(name, module, (fused,), output, ("num_heads",), ("split_size",), fused=True)


def head_scores(model: nn.Module, context: Context, found: Sequence[Attention]) -> list[torch.Tensor]:
    """Return the scores of the heads of each attention, shape (heads,), over calibration batches."""
    scores = [torch.zeros(each.heads) for each in found]
    factors: list[tuple[int, torch.Tensor]] = []

    def scaled(number: int, heads: int) -> Callable[..., tuple[torch.Tensor]]:
        def scale(_: nn.Module, inputs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor]:
            of_heads = inputs[0].unflatten(-1, (heads, -1))
            # One for each sample, so that samples do not cancel.
            factor = of_heads.new_ones(len(of_heads), *[1] * (of_heads.dim() - 3), heads, 1).requires_grad_()
            factors.append((number, factor))
            return ((of_heads * factor).flatten(-2),)

        return scale

    handles = [
        each.output.register_forward_pre_hook(scaled(number, each.heads)) for number, each in enumerate(found)
    ]
    try:
        for loss in context.losses(model):
            slopes = torch.autograd.grad(loss, [factor for _, factor in factors])
            for (number, _), slope in zip(factors, slopes, strict=True):
                scores[number] += slope.abs().flatten(0, -3).sum(0).flatten()
            factors.clear()
    finally:
        for handle in handles:
            handle.remove()
    return scores


@torch.no_grad()
def remove(attention: Attention, kept: torch.Tensor) -> None:
    """Leave only the heads of these numbers, in their order; shapes and counts of the module follow."""
    heads, width = attention.heads, attention.width
    columns = (kept.sort().values[:, None] * width + torch.arange(width)).flatten()
    folds = 3 if attention.fused else 1
    rows = torch.cat([fold * heads * width + columns for fold in range(folds)])
    for layer in attention.inputs:
        layer.weight = nn.Parameter(layer.weight[rows].clone(), layer.weight.requires_grad)
        if layer.bias is not None:
            layer.bias = nn.Parameter(layer.bias[rows].clone(), layer.bias.requires_grad)
        layer.out_features = len(rows)
    output = attention.output
    output.weight = nn.Parameter(output.weight[:, columns].clone(), output.weight.requires_grad)
    output.in_features = len(columns)
    for name in attention.counts:
        setattr(attention.module, name, len(kept))
    for name in attention.widths:
        setattr(attention.module, name, len(columns))


def _remove_heads(
    model: nn.Module,
    context: Context,
    share: float,
    step: str,
    score: Callable[[Sequence[Attention]], list[torch.Tensor]],
) -> nn.Module:
    """Remove the heads of least score. Raises CannotApply where there is no head to remove."""
    make_plain(model)
    found = list(attentions(model))
    if not found:
        raise CannotApply(f"{step}: found no attention whose heads can be removed in this model")
    dropped = [min(each.heads - 1, round(share * each.heads)) for each in found]
    if share > 0 and not any(dropped):
        most = max(each.heads for each in found)
        raise CannotApply(f"{step}: {share:g} of {most} heads is less than one that could go")
    with checked_shape(model, context, step):
        for each, scores, count in zip(found, score(found), dropped, strict=True):
            remove(each, scores.argsort(stable=True)[count:])
    context.note_quality("pruned", model)
    pruning.recover(model, context)
    return model
