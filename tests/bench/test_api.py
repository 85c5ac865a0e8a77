"""A live module, and models of the user's own, from the call or command to the table."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest
import torch

import bench
from bench.api import save_program
from bench.errors import BenchError
from bench.execution.options import RunOptions
from bench.execution.preparation import prepare
from bench.execution.session import execute
from bench.results.store import Store
from bench.workloads.loading import find_workload

MATRIX = """
[train]
workload = "digits"
optimizer = "tuned"
[infer]
compression = ["none", "finetune"]
backend = ["cpu-eager", "onnxruntime"]
"""

MINE = """
    import torch

    class Describing(torch.nn.Module):
        def forward(self, batch):
            return "a batch"

    def good():
        torch.manual_seed(0)
        return torch.nn.Linear(6, 3), torch.ones(5, 6)

    def bad():
        return Describing(), torch.ones(5, 6)
"""


def test_a_live_module_is_measured_in_one_call(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(20, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3))
    table = bench.measure(
        model,
        torch.randn(10, 20),
        compressions=["none"],
        backends=["cpu-eager", "onnxruntime"],
        max_launches=1,
        budget_s=None,
        results=tmp_path,
    )
    assert list(table["backend"]) == ["cpu-eager", "onnxruntime"]
    assert set(table["state"]) <= {"ok", "INVALID"}  # a busy machine disturbs every launch
    assert (table["latency_s"] > 0).all() and list(table["quality"]) == [1.0, 1.0]
    assert (table["dense_flops"] == 2 * (20 * 8 + 8 * 3)).all()
    assert model.training  # left as it was


@pytest.mark.slow
def test_a_budget_that_is_far_too_small_leaves_one_answer_and_says_what_the_others_need(
    tmp_path: Path,
) -> None:
    backends = ["cpu-eager", "onnxruntime"]
    table = bench.measure(
        torch.nn.Linear(20, 8), torch.randn(10, 20), backends=backends, budget_s=0.5, results=tmp_path
    )
    answered = table[table["latency_s"].notna()]
    assert list(answered["compression"]) == ["none"] and len(table) == 6
    others = table[table["latency_s"].isna() & ~table["reason"].str.contains("no kernel", na=False)]
    assert others["reason"].str.contains("the time budget of 0.5 s has no room for it").all()
    assert set(others["state"]) == {"skipped"}


def test_targets_give_the_accuracy_of_each_cell(tmp_path: Path) -> None:
    model = torch.nn.Linear(3, 3, bias=False)
    with torch.no_grad():
        model.weight.copy_(torch.eye(3))
    table = bench.measure(
        model,
        torch.eye(3).repeat(3, 1),
        targets=torch.tensor([0, 1, 1]).repeat(3),
        compressions=["none"],
        backends=["cpu-eager", "onnxruntime"],
        max_launches=1,
        budget_s=None,
        results=tmp_path,
    )
    assert table["accuracy"].tolist() == pytest.approx([2 / 3, 2 / 3])
    assert table["quality"].tolist() == [1.0, 1.0]  # of the answers, all stay
    assert [table.attrs["run"]] == run_ids(tmp_path)


def run_ids(results: Path) -> list[str]:
    return [str(run_id) for run_id in Store.open(results, create=False).runs()["id"]]


@pytest.mark.parametrize("targets", [torch.zeros(2), torch.tensor(1), torch.zeros(0)])
def test_targets_are_one_for_each_sample(tmp_path: Path, targets: torch.Tensor) -> None:
    with pytest.raises(BenchError, match="targets must be one for each of the 3 inputs"):
        bench.measure(torch.nn.Linear(3, 3), torch.eye(3), targets=targets, results=tmp_path)


def test_weights_of_any_numbers_name_a_module(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = torch.nn.Linear(4, 2).bfloat16()
    inputs = torch.ones(3, 4, dtype=torch.bfloat16)
    first = save_program(model, inputs, tmp_path)
    with torch.no_grad():
        model.weight[0, 0] += 1
    assert save_program(model, inputs, tmp_path) != first


class Scaled(torch.nn.Module):
    """Two of these differ in what they do alone: equal weights, equal text."""

    def __init__(self, factor: float, table: tuple[float, ...] = (1.0,)) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer, self.factor, self.table = torch.nn.Linear(3, 3), factor, torch.tensor(table)

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        hidden = self.layer(batch)
        for _ in range(int(self.factor)):
            hidden = self.layer(hidden)
        return hidden * self.table[0]


def test_modules_of_equal_weights_and_another_forward_are_told_apart(tmp_path: Path) -> None:
    inputs = torch.ones(4, 3)
    models = [Scaled(1.0), Scaled(2.0), Scaled(1.0, (2.0,))]
    assert len({str(model) for model in models}) == 1
    programs = [save_program(model, inputs, tmp_path) for model in models]
    assert len(set(programs)) == 3
    for model, program in zip(models, programs, strict=True):
        assert torch.allclose(torch.export.load(program).module()(inputs), model(inputs))


class Within(torch.nn.Module):
    """Multiplies in a graph of its own below the model's."""

    def __init__(self, factor: float, kind: str) -> None:
        super().__init__()
        self.factor, self.kind = factor, kind

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        from torch._higher_order_ops import while_loop

        if self.kind == "loop":
            return while_loop(  # type: ignore[no-any-return]
                lambda number, _: number < 3,
                lambda number, each: (number + 1, each * self.factor),
                (torch.tensor(0), batch),
            )[1]
        mode = torch.no_grad() if self.kind == "no_grad" else torch.autocast("cpu", dtype=torch.bfloat16)
        batch = batch + 1
        with mode:
            hidden = batch * self.factor
        return hidden + 1


class Choosing(torch.nn.Module):
    """Has branches that use its weights."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(3, 3)

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        return torch.cond(  # type: ignore[no-any-return]
            batch.sum() > 0, lambda each: self.layer(each), lambda each: self.layer(each) - 2.0, (batch,)
        )


@pytest.mark.parametrize("kind", ["loop", "no_grad", "autocast"])
def test_modules_that_differ_below_the_top_of_their_graph_are_told_apart(kind: str, tmp_path: Path) -> None:
    programs = {save_program(Within(factor, kind), torch.ones(4, 3), tmp_path) for factor in (2.0, 9.0, 2.0)}
    assert len(programs) == 2


def test_a_program_that_no_file_can_hold_is_told_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match=r"cannot be exported by torch.export: [^\n]+$"):
        save_program(Choosing(), torch.ones(2, 3), tmp_path)
    assert not list(tmp_path.iterdir())


def test_an_equal_module_has_the_same_program_which_is_not_written_again(tmp_path: Path) -> None:
    inputs = torch.ones(4, 3)
    first = save_program(Scaled(1.0), inputs, tmp_path)
    written = first.stat()
    again = save_program(Scaled(1.0), inputs, tmp_path)
    assert (
        again == first and again.stat().st_ino == written.st_ino and again.stat().st_mtime == written.st_mtime
    )


def test_a_module_that_cannot_be_exported_is_told_in_one_line(tmp_path: Path) -> None:
    class Branches(torch.nn.Module):
        def forward(self, batch: torch.Tensor) -> torch.Tensor:
            return batch if batch.sum() > 0 else -batch

    with pytest.raises(BenchError, match=r"cannot be exported by torch.export: [^\n]+$"):
        save_program(Branches(), torch.ones(2, 3), tmp_path)


def test_a_model_that_does_not_fit_has_one_line_for_each_cell_and_the_others_run(tmp_path: Path) -> None:
    mine, matrix = tmp_path / "mine.py", tmp_path / "mine.toml"
    mine.write_text(textwrap.dedent(MINE))
    matrix.write_text(MATRIX)
    workloads = (f"module:{mine}:good", f"module:{mine}:bad")
    options = RunOptions(str(matrix), tmp_path / "results", workloads=workloads, smoke=True)
    outcome = execute(prepare(options), lambda run_id: None)
    assert not outcome.ok
    store = Store.open(tmp_path / "results", create=False)
    launches = store.launches(outcome.run_id).set_index("stage_key")
    cells = store.cells(outcome.run_id)
    store.close()
    for cell in cells:
        end = launches.loc[cell.stages["evaluate"]]
        if ":bad" in cell.name:
            assert end["state"] == "skipped" and end["reason"].endswith(
                "the model returns a str without a tensor in it"
            )
        elif "finetune" in cell.name:
            assert end["state"] == "skipped" and "no training data" in end["reason"]
        else:
            assert end["state"] == "ok"


class Frozen(torch.nn.Module):
    """Is in training mode but for its norm, has a random layer, keeps state outside its buffers."""

    def __init__(self) -> None:
        super().__init__()
        self.calls, self.seen = 0, torch.zeros(())
        self.first, self.norm, self.drop = (
            torch.nn.Linear(6, 8),
            torch.nn.BatchNorm1d(8),
            torch.nn.Dropout(0.5),
        )
        self.first.weight.requires_grad_(False)
        self.norm.eval()

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        outputs: torch.Tensor = self.drop(self.norm(self.first(batch)))
        return outputs


def state_of(model: torch.nn.Module) -> list[object]:
    tensors = [*model.named_parameters(), *model.named_buffers()]
    return [
        [(name, module.training, dict(module._forward_hooks)) for name, module in model.named_modules()],
        [(name, tensor.requires_grad, tensor.data_ptr(), tensor.tolist()) for name, tensor in tensors],
        torch.random.get_rng_state().tolist(),
        torch.get_default_dtype(),
    ]


def test_a_module_is_left_as_it_was_found(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model, inputs = Frozen(), torch.randn(5, 6, requires_grad=True)
    model(inputs).sum().backward()
    model.first.register_forward_hook(lambda *_: None)
    before, gradient = state_of(model), model.norm.weight.grad.clone()
    save_program(model, inputs, tmp_path)
    assert state_of(model) == before and model.calls == 1
    assert torch.equal(model.norm.weight.grad, gradient) and inputs.requires_grad


@pytest.mark.parametrize(
    "make",
    [
        lambda: torch.compile(torch.nn.Linear(6, 3)),
        lambda: torch.nn.Sequential(torch.compile(torch.nn.Linear(6, 3))),
        lambda: torch.nn.utils.weight_norm(torch.nn.Linear(6, 3)),
        lambda: torch.nn.utils.parametrizations.spectral_norm(torch.nn.Linear(6, 3)),
    ],
    ids=["compiled", "compiled part", "old weight norm", "spectral norm"],
)
def test_modules_of_many_kinds_are_exported(make, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model, inputs = make(), torch.randn(5, 6)
    outputs = torch.export.load(save_program(model, inputs, tmp_path)).module()(inputs)
    torch.testing.assert_close(outputs, getattr(model, "_orig_mod", model).eval()(inputs))


def test_a_model_of_one_batch_size_asks_for_it(tmp_path: Path) -> None:
    class Flat(torch.nn.Module):
        def forward(self, batch: torch.Tensor) -> torch.Tensor:
            return batch.reshape(5, 6)

    with pytest.raises(BenchError, match=r"takes batches of 5 only: pass batch_sizes=\[5\]"):
        save_program(Flat(), torch.ones(5, 6), tmp_path, batch_sizes=[1])
    program = save_program(Flat(), torch.ones(5, 6), tmp_path, batch_sizes=[1, 5])
    assert find_workload(f"exported:{program}").fixed_batch == 5
