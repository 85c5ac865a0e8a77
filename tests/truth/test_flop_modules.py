"""The table of modules: each module's own known answer, and the reason where fvcore's is another."""

from __future__ import annotations

import torch
from torch import nn

from bench.instruments.flop_modules import ModuleFlops, module_flops


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4))
        self.twice = nn.Linear(16, 16, bias=False)
        self.recurrent = nn.LSTM(16, 8, batch_first=True)
        self.never = nn.Linear(4, 4)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        rows = self.convolution(images).flatten(2)
        hidden: torch.Tensor = self.recurrent(self.twice(self.twice(rows)))[0]
        return hidden @ hidden.transpose(1, 2)


CONVOLUTION = 2 * 2 * 16 * 27 * 4
TWICE = 2 * (2 * 2 * 4 * 16 * 16)
RECURRENT = 2 * 2 * 4 * 4 * 8 * (16 + 8)
ATTENTION = 2 * 2 * 4 * 4 * 8


def rows() -> dict[str, ModuleFlops]:
    return {row.name: row for row in module_flops(Net(), torch.randn(2, 3, 4, 4))}


def test_every_module_has_its_own_count_and_the_model_their_sum() -> None:
    counts = {name: row.ours for name, row in rows().items()}
    assert counts["convolution"] == counts["convolution.0"] == CONVOLUTION
    assert counts["convolution.1"] == 0
    assert counts["twice"] == TWICE
    assert counts["recurrent"] == RECURRENT
    assert counts[""] == CONVOLUTION + TWICE + RECURRENT + ATTENTION
    assert "never" not in counts


def test_where_fvcore_differs_the_row_says_why() -> None:
    found = rows()
    assert (found["twice"].fvcore, found["twice"].why) == (TWICE, "")
    assert found["convolution.0"].why == ""
    assert "batch_norm" in found["convolution"].why and "not explained" not in found["convolution"].why
    assert "no count for aten::lstm" in found["recurrent"].why
    assert found["recurrent"].fvcore == 0
    assert found[""].kind == "Net" and found["recurrent"].kind == "LSTM"


def test_a_model_that_fvcore_cannot_trace_has_our_count_alone() -> None:
    class Untraceable(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Linear(4, 4)

        def forward(self, source: torch.Tensor) -> dict[int, torch.Tensor]:
            return {0: self.inner(source)}

    (model, inner) = module_flops(Untraceable(), torch.randn(2, 4))
    assert model.ours == inner.ours == 2 * 2 * 4 * 4
    assert inner.fvcore is None and "could not trace" in inner.why
