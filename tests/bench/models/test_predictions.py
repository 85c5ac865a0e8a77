"""Several outputs keep their names; what is left out is named."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from bench.errors import StageError
from bench.models.closeness import further_closeness
from bench.models.files import load_outputs, save_outputs
from bench.models.predictions import Predictions, gathered, named_like
from bench.stages.evaluate import judged
from bench.workloads.given import workload
from bench.workloads.output_kinds import OutputKind
from techniques.compression import Tolerance

ROWS = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
EXACT = Tolerance(relative_error=1e-4)


@dataclass
class Found:
    scores: torch.Tensor
    hidden: torch.Tensor
    loss: torch.Tensor
    note: str = "seen"
    cache: None = None


def returned(rows: torch.Tensor) -> Found:
    return Found(rows, rows.half(), rows.mean())


def test_outputs_of_batches_are_put_together_by_name() -> None:
    found = gathered((returned(part), len(part)) for part in ROWS.split(3))
    assert list(found.tensors) == ["scores", "hidden"] and found.left_out == ("loss", "note")
    assert torch.equal(found.main, ROWS) and found.tensors["hidden"].dtype == torch.float32


@pytest.mark.parametrize(
    ("outputs", "main"),
    [
        ({"hidden": ROWS, "logits": ROWS[:, :2]}, "logits"),
        ((ROWS, ROWS[:, :2]), "0"),
        ({"boxes": ROWS, "inner": {"scores": ROWS}}, "boxes"),
    ],
)
def test_the_output_that_is_judged_is_that_of_logits_or_the_first(outputs: object, main: str) -> None:
    assert gathered([(outputs, 4)]).main_name == main


def test_a_quality_function_gets_outputs_as_the_model_returned_them() -> None:
    assert torch.equal(gathered([(ROWS, 4)]).as_returned, ROWS)
    first, second = gathered([((ROWS, ROWS + 1), 4)]).as_returned
    assert torch.equal(first, ROWS) and torch.equal(second, ROWS + 1)
    named = gathered([(returned(ROWS), 4)]).as_returned
    assert torch.equal(named["scores"], ROWS) and torch.equal(named.scores, ROWS)


@pytest.mark.parametrize(
    ("outputs", "told"),
    [
        ("text", "a str without a tensor in it"),
        (ROWS.flatten(), r"no row for each of the 4 samples of a batch: \(12,\)"),
        (ROWS.mean(), "no row for each of the 4 samples"),
    ],
)
def test_outputs_without_rows_are_one_line(outputs: object, told: str) -> None:
    with pytest.raises(StageError, match=told):
        gathered([(outputs, 4)])


def test_a_runtime_that_gives_other_outputs_is_one_line() -> None:
    with pytest.raises(StageError, match="the runtime gives 1 outputs, the model 3"):
        named_like(gathered([(returned(ROWS), 4)]), [ROWS])


def test_outputs_are_kept_with_their_names_and_kind(tmp_path: Path) -> None:
    found = gathered([({"z": ROWS, "a": ROWS + 1, "loss": ROWS.mean()}, 4)])
    kept = Predictions(found.tensors, found.names, found.left_out, OutputKind("scores", 1, "declared"))
    save_outputs(tmp_path, kept)
    again = load_outputs(tmp_path)
    assert list(again.tensors) == ["z", "a"] and (again.names, again.left_out) == (kept.names, ("loss",))
    assert again.kind == kept.kind and torch.equal(again.tensors["a"], ROWS + 1)


def test_each_further_output_is_compared_and_named() -> None:
    labels = torch.arange(4)
    own = Predictions({"logits": ROWS, "label": labels, "hidden": ROWS}, ("logits", "label", "hidden"))
    other = Predictions({"logits": ROWS, "label": labels.flip(0), "hidden": ROWS + 1}, own.names)
    measured, faults = further_closeness(other, own, EXACT)
    values = {(entry.metric, entry.qualifier): entry.value for entry in measured}
    assert values["further_agreement", "label"] == 0 and values["further_error", "hidden"] > 0.1
    assert faults[0].startswith("output label: agreement 0.0000") and "output hidden" in faults[1]


def test_a_wrong_further_output_makes_a_cell_invalid() -> None:
    kind, served = OutputKind("scores", 1), workload(torch.nn.Identity, ROWS)
    own = Predictions({"logits": ROWS, "hidden": ROWS}, ("logits", "hidden"), kind=kind)
    other = Predictions({"logits": ROWS, "hidden": ROWS + 1}, own.names, kind=kind)
    assert judged(own, own, served, EXACT)[-1].value == 1
    verdict = judged(other, own, served, EXACT)[-1]
    assert verdict.value == 0 and verdict.reason.startswith("output hidden: relative error")
