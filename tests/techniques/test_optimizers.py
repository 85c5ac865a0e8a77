"""The rows of optimizers: what they say, what they keep, how they group parameters, how they train."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

from bench.instruments import flops, tensors
from techniques.backends import BACKENDS
from techniques.backends.training import TorchTrainingStep
from techniques.optimizers import OPTIMIZERS, OptimizerRow, Span
from techniques.optimizers.row import Shape
from techniques.optimizers.torch_optim import build, grouped, period_of, swaps_weights, variant_of
from techniques.registry import CannotApply, Registry, TechniqueError

ROWS = {name: row for name, row in OPTIMIZERS.rows().items() if name != "none"}
IMAGES = torch.randn(8, 3, 8, 8, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(8) % 4


def net() -> nn.Module:
    """Return a CNN with a matrix of whole blocks of 256 elements and one of over 4,096."""
    torch.manual_seed(0)
    return nn.Sequential(
        *(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten()),
        *(nn.Linear(288, 32), nn.Tanh(), nn.Linear(32, 10), nn.Linear(10, 4)),
    )


class Words(nn.Module):
    """A classifier of words whose output layer is not the embedding."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(20, 8)
        self.positions = nn.Parameter(torch.zeros(1, 5, 8))
        self.layer = nn.Linear(8, 8)
        self.classifier = nn.Linear(8, 4)

    def forward(self, words: torch.Tensor) -> torch.Tensor:
        return self.classifier(torch.tanh(self.layer(self.embedding(words) + self.positions)).mean(1))


@pytest.fixture(autouse=True)
def without_compiling() -> Iterator[None]:
    """Run torchao's update without compiling it, which takes seconds for each shape."""
    with torch.compiler.set_stance("force_eager"):
        yield


def row(name: str) -> OptimizerRow:
    found = OPTIMIZERS.get(name)
    reason = found.unavailable()
    if reason:
        pytest.skip(reason)
    return found


def trainer(text: str, model: nn.Module, precision: str = "fp32", backend: str = "cpu-eager") -> Any:
    row(text.partition(":")[0])
    learn = (
        BACKENDS.parse(backend)
        .create()
        .compile_step(model, functional.cross_entropy, OPTIMIZERS.parse(text), precision)
    )
    learn.warm_up(IMAGES, LABELS)
    return learn


def test_there_are_at_least_24_optimizers_with_what_a_researcher_asks_of_each() -> None:
    assert len(ROWS) >= 24
    for name, found in ROWS.items():
        assert re.search(r"\([^)]+ (1[89]|20)\d\d\)", found.about), name  # its paper
        assert isinstance(found.space["lr"], Span), name
        assert found.state, name
        assert not found.needs or "pip install" in found.install, name
        assert "Fromage" not in found.implementation and "Nero" not in found.implementation


def test_a_span_is_even_on_its_scale() -> None:
    assert Span(1e-4, 1e-2).at(0.5) == pytest.approx(1e-3)
    assert Span(0.0, 4.0, "linear").at(0.25) == pytest.approx(1.0)
    assert Span(0.9, 0.999, "complement").at(0.5) == pytest.approx(0.99)
    assert [Span(1e-5, 0.1).at(share) for share in (0, 1)] == pytest.approx([1e-5, 0.1])


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ({"rate": Span(0.1, 1.0)}, "space: 'rate' is not a setting that is a number"),
        ({"lr": Span(1.0, 0.1)}, "space: 'lr' must go from low to high"),
        ({"lr": Span(0.1, 3.0)}, r"'3' is out of its range \(0, 2\)"),
    ],
)
def test_a_row_with_a_space_that_its_settings_do_not_have_is_refused(
    space: dict[str, Span], message: str
) -> None:
    table = Registry("optimizer", OptimizerRow, entry_points="none.of.these")
    with pytest.raises(TechniqueError, match=message):
        table.add(
            "mine",
            "mine:build",
            about="Mine",
            defaults={"lr": 1.0},
            ranges={"lr": "(0, 2)"},
            space=space,
        )


@pytest.mark.parametrize("name", ROWS)
def test_state_by_theory_is_what_is_measured(name: str) -> None:
    row(name)
    model, technique = net(), OPTIMIZERS.default(name)
    learn = trainer(name, model)
    for _ in range(3):
        learn(IMAGES, LABELS)
    groups = {label: list(own.values()) for label, own in grouped(learn.optimizer, model, name).items()}
    theory = technique.row.state_bytes(groups, technique.settings)
    surplus = technique.row.surplus_bytes(groups, technique.settings)
    assert theory is not None and theory + surplus == tensors.optimizer_state_bytes(learn.optimizer)
    assert surplus == 0 or name in ("sophia", "mars")


def test_state_by_theory_of_one_matrix() -> None:
    matrix = [Shape((600, 256))]
    each = 600 * 256

    def of(name: str, label: str = "") -> int | None:
        technique = OPTIMIZERS.default(name)
        return technique.row.state_bytes({label or name: matrix}, technique.settings)

    assert of("sgd") == 0
    assert of("lion") == 4 * each
    assert of("adamw") == 8 * each
    assert of("muon", "muon") == 4 * each
    # By their papers: two means of Sophia's, MARS' two and a last gradient, AdamW's two.
    assert of("sophia") == 8 * each and of("mars", "mars") == 12 * each and of("mars", "adamw") == 8 * each
    assert OPTIMIZERS.get("sophia").surplus_bytes({"sophia": matrix}, {}) == 4 * each
    assert of("adafactor") == 4 * (600 + 256)
    assert of("soap") == 8 * each + 2 * 4 * (600**2 + 256**2)
    # Blocks of 512 and 88 rows, each with a factor of its columns.
    assert of("shampoo") == 8 * each + 2 * 4 * (512**2 + 88**2 + 2 * 256**2)
    assert of("psgd-kron") == 4 * each + 4 * (600**2 + 256**2)
    assert of("adamw-8bit") == 2 * (each + 4 * each // 256 + 1024)
    assert OPTIMIZERS.get("adam").state_bytes({"another": matrix}, {}) is None


def test_a_surplus_of_state_says_what_it_is() -> None:
    table = Registry("optimizer", OptimizerRow, entry_points="none.of.these")
    with pytest.raises(TechniqueError, match="surplus: needs a state of the same group, and surplus_about"):
        table.add("mine", "mine:build", about="Mine", state={}, surplus={"mine": lambda shapes, settings: 0})


def test_rates_that_no_paper_has_say_what_they_were_chosen_on() -> None:
    tried = {name for name, found in ROWS.items() if found.tried_on}
    assert tried == {"sgd", "momentum", "nesterov", "rmsprop", "shampoo"}
    assert {found.tried_on for found in ROWS.values()} == {"", "fashion-mnist-simplecnn"}


@pytest.mark.parametrize("name", ROWS)
def test_every_optimizer_learns_a_small_net_at_its_defaults(name: str) -> None:
    learn = trainer(name, net())
    losses = [learn(IMAGES, LABELS).item() for _ in range(60)]
    learn.write_back()
    assert all(loss == loss and abs(loss) < 10 for loss in losses)
    # Lion, Prodigy and Kron begin slowly: of 60 steps they need most.
    assert sum(losses[-5:]) < 0.98 * sum(losses[:5])


@pytest.mark.parametrize("name", [name for name in ROWS if ROWS[name].defaults.get("variant")])
def test_the_variant_that_ran_is_known(name: str) -> None:
    row(name)
    model = net()
    chosen = {
        variant: variant_of(build(OPTIMIZERS.parse(f"{name}:variant={variant}"), model))
        for variant in ROWS[name].ranges["variant"].split(", ")
    }
    assert chosen.pop("auto") == "loop"  # on a CPU
    assert all(variant == ran for variant, ran in chosen.items())


def test_an_unknown_variant_is_one_line() -> None:
    with pytest.raises(TechniqueError, match="variant: 'fsed' must be one of auto, loop, foreach, fused"):
        OPTIMIZERS.parse("adam:variant=fsed")
    with pytest.raises(TechniqueError, match="variant: 'fused' must be one of auto, loop, foreach"):
        OPTIMIZERS.parse("nadam:variant=fused")


def test_muon_gets_hidden_matrices_and_adamw_the_rest() -> None:
    model = net()
    groups = grouped(build(OPTIMIZERS.parse("muon"), model), model, "muon")
    assert list(groups["muon"]) == ["0.weight", "3.weight", "5.weight"]
    assert list(groups["adamw"]) == ["0.bias", "3.bias", "5.bias", "6.weight", "6.bias"]
    words = Words()
    groups = grouped(build(OPTIMIZERS.parse("muon"), words), words, "muon")
    assert list(groups["muon"]) == ["layer.weight"]
    assert {"embedding.weight", "positions", "classifier.weight"} <= set(groups["adamw"])


def test_a_tied_output_layer_is_an_embedding_and_the_layer_before_it_is_hidden() -> None:
    words = Words()
    words.classifier = nn.Linear(8, 20, bias=False)
    words.classifier.weight = words.embedding.weight
    groups = grouped(build(OPTIMIZERS.parse("muon"), words), words, "muon")
    assert list(groups["muon"]) == ["layer.weight"]


@pytest.mark.parametrize("model", [nn.Linear(4, 3), nn.Sequential(nn.Embedding(4, 3), nn.Linear(3, 2))])
def test_muon_refuses_a_model_without_hidden_matrices(model: nn.Module) -> None:
    with pytest.raises(CannotApply, match="muon: the model has no matrix but for embeddings and its output"):
        build(OPTIMIZERS.parse("muon"), model)


def test_a_rate_that_changes_in_a_group_is_that_of_the_next_step() -> None:
    model = net()
    learn = trainer("muon:lr=0.5,adamw_lr=0.5", model)
    before = [weight.detach().clone() for weight in model.parameters()]
    for group in learn.optimizer.param_groups:
        group["lr"] = 0.0
    learn(IMAGES, LABELS)
    assert all(torch.equal(one, other) for one, other in zip(before, model.parameters(), strict=True))


def test_mars_gets_matrices_and_adamw_vectors() -> None:
    row("mars")
    model = net()
    groups = grouped(build(OPTIMIZERS.parse("mars"), model), model, "mars")
    assert all(name.endswith("weight") for name in groups["mars"])
    assert all(name.endswith("bias") for name in groups["adamw"])


@pytest.mark.parametrize("name", ["schedule-free-adamw", "schedule-free-sgd"])
def test_schedule_free_weights_are_swapped_around_evaluation(name: str) -> None:
    model = net()
    learn = trainer(name, model)
    assert swaps_weights(learn.optimizer)

    def weights() -> torch.Tensor:
        return torch.cat([weight.detach().flatten() for weight in model.parameters()])

    for _ in range(5):
        learn(IMAGES, LABELS)
    trained = weights()
    learn.write_back()
    evaluated = weights()
    learn.write_back()  # a second time changes nothing
    assert torch.equal(evaluated, weights()) and not torch.allclose(evaluated, trained, atol=1e-5)
    learn(IMAGES, LABELS)  # trains on from where it was
    learn.optimizer.eval()
    learn.optimizer.train()
    assert (weights() - trained).norm() < 3 * (evaluated - trained).norm()


def test_sophia_takes_gradients_of_gradients_every_tenth_step() -> None:
    learn = trainer("sophia", net())
    twice = []
    for _ in range(21):
        twice.append(learn.optimizer.differentiates_twice)
        learn(IMAGES, LABELS)
        assert all(weight.grad.grad_fn is not None for weight in learn.model.parameters()) == twice[-1]
    assert [number for number, yes in enumerate(twice) if yes] == [0, 10, 20]
    assert period_of(learn.optimizer) == 10


def test_sophia_trains_attention() -> None:
    class Attention(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.project = nn.Linear(8, 24)
            self.out = nn.Linear(8, 4)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            tokens = self.project(images.flatten(1, 2)).chunk(3, dim=-1)
            attended = functional.scaled_dot_product_attention(*(part.unsqueeze(1) for part in tokens))
            return self.out(attended.squeeze(1).mean(1))

    torch.manual_seed(0)
    learn = trainer("sophia", Attention())
    assert torch.isfinite(torch.stack([learn(IMAGES, LABELS) for _ in range(3)])).all()


def test_sophia_refuses_scaled_gradients_and_operators_without_second_derivatives() -> None:
    with pytest.raises(CannotApply, match="Sophia takes gradients of gradients: it cannot use fp16"):
        trainer("sophia", net(), "fp16")

    class Once(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
            return x.clone()

        @staticmethod
        @torch.autograd.function.once_differentiable
        def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
            return gradient

    model = nn.Sequential(net(), nn.Identity())
    model[1].forward = Once.apply  # type: ignore[method-assign, assignment]
    learn = trainer("sophia", model)
    with pytest.raises(CannotApply, match="an operator has no second derivative"):
        learn(IMAGES, LABELS)


def test_the_steps_of_every_optimizer_are_counted_and_leave_it_as_it_is() -> None:
    once = set()
    for name in ROWS:
        if ROWS[name].unavailable() or period_of(build(OPTIMIZERS.default(name), net())) > 1:
            continue
        model = net()
        learn = trainer(name, model)
        learn(IMAGES, LABELS)
        before = [weight.detach().clone() for weight in model.parameters()]
        counted = flops.count_step(model, functional.cross_entropy, IMAGES, LABELS, learn.optimizer)
        once.add((counted.forward.total, counted.backward.total))
        assert all(map(torch.equal, before, model.parameters())), name
    assert len(once) == 1


@pytest.mark.parametrize("name", ["soap", "sophia", "shampoo"])
def test_work_that_is_done_now_and_then_is_counted_once_a_period(name: str) -> None:
    row(name)
    model = net()
    optimizer = build(OPTIMIZERS.default(name), model)
    counted = [flops.count_step(model, functional.cross_entropy, IMAGES, LABELS, optimizer) for _ in range(2)]
    adam = build(OPTIMIZERS.default("adam"), model)
    plain = flops.count_step(model, functional.cross_entropy, IMAGES, LABELS, adam)
    assert counted[0].forward.total == plain.forward.total
    assert counted[0].optimizer.total > plain.optimizer.total == 0
    if name != "shampoo":  # whose roots take as many products as the gradients ask for
        assert counted[0].optimizer.total == counted[1].optimizer.total


def test_sparse_gradients_are_refused_in_one_line() -> None:
    row("lion")
    model = nn.EmbeddingBag(10, 2, sparse=True)
    learn = TorchTrainingStep(model, functional.cross_entropy, build(OPTIMIZERS.parse("lion"), model))
    with pytest.raises(CannotApply, match="does not support sparse gradient"):
        learn(torch.tensor([[1, 2], [3, 4]]), torch.tensor([0, 1]))
