"""Models with computed weights, tied weights and extra state are kept, compressed and served as they are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from torch.nn import functional
from torch.nn.utils import parametrizations, parametrize, prune, spectral_norm, weight_norm

from bench.errors import StageError
from bench.instruments.copies import copy_of
from bench.instruments.flops import count_step
from bench.models import structures
from bench.models.files import WEIGHTS, load_model, save_model
from bench.models.structures import Structure
from bench.workloads.workload import Data, Workload
from techniques.backends.eager import Eager
from techniques.backends.protocol import Numerics
from techniques.backends.training import TorchTrainingStep
from techniques.compression.channels import prune_channels
from techniques.compression.pruning import prune_magnitude
from tests.support.untrained import Untrained

INPUTS = torch.randn(8, 16, generator=torch.Generator().manual_seed(0))
TARGETS = torch.arange(8) % 4
Factory = Callable[[], nn.Module]


def chain(layer: Callable[[nn.Linear], nn.Module]) -> Factory:
    def make() -> nn.Module:
        return nn.Sequential(
            layer(nn.Linear(16, 32)), nn.ReLU(), layer(nn.Linear(32, 32)), nn.ReLU(), nn.Linear(32, 4)
        )

    return make


class Doubled(nn.Module):
    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        return 2 * weight


def doubled(layer: nn.Linear) -> nn.Module:
    parametrize.register_parametrization(layer, "weight", Doubled())
    return layer


class Scaled(nn.Module):
    """Keeps a number that its outputs depend on as extra state."""

    def __init__(self, scale: float = 1.0) -> None:
        super().__init__()
        self.net, self.scale = chain(lambda layer: layer)(), scale

    def get_extra_state(self) -> dict[str, float]:
        return {"scale": self.scale}

    def set_extra_state(self, state: dict[str, float]) -> None:
        self.scale = state["scale"]

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        return self.net(batch) * self.scale


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.head = nn.Linear(16, 16), nn.Linear(16, 16), nn.Linear(16, 4)
        self.second.weight = self.first.weight

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        return self.head(functional.relu(self.second(functional.relu(self.first(batch)))))


class Remembering(nn.Module):
    """Keeps its latest activations, with their history."""

    def __init__(self) -> None:
        super().__init__()
        self.net = chain(lambda layer: layer)()
        self.seen: list[torch.Tensor] = []

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        self.seen = [self.net(batch)]
        return self.seen[0]


COMPUTED: dict[str, Factory] = {
    "weight norm": chain(parametrizations.weight_norm),
    "old weight norm": chain(weight_norm),
    "spectral norm": chain(parametrizations.spectral_norm),
    "old spectral norm": chain(spectral_norm),
    "mask of torch.nn.utils.prune": chain(lambda layer: prune.l1_unstructured(layer, "weight", 0.3)),
    "a parametrization of one's own": chain(doubled),
}
KINDS: dict[str, Factory] = COMPUTED | {"extra state": Scaled, "tied": Tied, "remembering": Remembering}


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], nn.Module]:
    """Return a function that makes a model of that kind, the model of the workload `kind` from then on."""

    def make(kind: str) -> nn.Module:
        data = Data(INPUTS, TARGETS, INPUTS, TARGETS)
        workload = Workload(lambda: data, lambda batch: batch, KINDS[kind], functional.cross_entropy, None)
        monkeypatch.setattr(structures, "find_workload", lambda name: workload)
        torch.manual_seed(0)
        return KINDS[kind]()

    return make


def trained(model: nn.Module, steps: int = 3) -> nn.Module:
    learn = TorchTrainingStep(model, functional.cross_entropy, torch.optim.SGD(model.parameters(), lr=0.1))
    learn.warm_up(INPUTS, TARGETS)
    model.train()
    for _ in range(steps):
        learn(INPUTS, TARGETS)
    return model.eval()


@pytest.mark.parametrize("kind", KINDS)
def test_a_trained_model_is_kept_and_served_as_it_is(
    kind: str, made: Callable[[str], nn.Module], tmp_path: Path
) -> None:
    model = trained(made(kind))
    if isinstance(model, Scaled):
        model.scale = 0.5
    expected = model(INPUTS).detach()
    structure = Structure("kind").edited(model)
    save_model(tmp_path, structure, model)
    assert torch.equal(load_model(tmp_path)(INPUTS), expected)
    Eager("cpu").lower(copy_of(model), INPUTS[:1], Numerics(None, "fp32"), [], tmp_path)
    program = Eager("cpu").load(tmp_path, structure.build, Numerics(None, "fp32"), 1)
    torch.testing.assert_close(program(INPUTS), expected)


@pytest.mark.parametrize("kind", KINDS)
def test_warming_up_and_counting_leave_a_model_as_it_was(kind: str, made: Callable[[str], nn.Module]) -> None:
    model = made(kind)
    before = {name: tensor.clone() for name, tensor in (*model.named_parameters(), *model.named_buffers())}
    trained(model, steps=0).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    assert count_step(model, functional.cross_entropy, INPUTS, TARGETS, optimizer).forward.total > 0
    after = dict((*model.named_parameters(), *model.named_buffers()))
    assert before.keys() == after.keys()
    assert all(torch.equal(tensor, after[name]) for name, tensor in before.items())


@pytest.mark.parametrize("kind", KINDS)
def test_a_pruned_model_is_kept_with_its_zeros(
    kind: str, made: Callable[[str], nn.Module], tmp_path: Path
) -> None:
    model = prune_magnitude(trained(made(kind)), Untrained(INPUTS[:1]), sparsity=0.5).eval()
    save_model(tmp_path, Structure("kind").edited(model), model)
    again = load_model(tmp_path)
    torch.testing.assert_close(again(INPUTS), model(INPUTS))
    linear = [module.weight for module in again.modules() if isinstance(module, nn.Linear)]
    zeros = sum(int((weight == 0).sum()) for weight in linear)
    assert zeros == pytest.approx(sum(weight.numel() for weight in linear) / 2, abs=len(linear))


@pytest.mark.parametrize("kind", COMPUTED)
def test_channels_of_computed_weights_can_be_dropped(
    kind: str, made: Callable[[str], nn.Module], tmp_path: Path
) -> None:
    model = prune_channels(trained(made(kind)), Untrained(INPUTS[:1]), share=0.5).eval()
    save_model(tmp_path, Structure("kind").edited(model), model)
    again = load_model(tmp_path)
    torch.testing.assert_close(again(INPUTS), model(INPUTS))
    assert sum(tensor.numel() for tensor in again.parameters()) < 900  # of 1,732


@pytest.mark.parametrize("kind", [*COMPUTED, "tied"])
def test_int8_weights_are_made_of_computed_and_of_shared_ones(
    kind: str, made: Callable[[str], nn.Module], tmp_path: Path
) -> None:
    model, numerics = trained(made(kind)), Numerics("int8-dynamic", "fp32")
    expected = model(INPUTS).detach()
    Eager("cpu").lower(copy_of(model), INPUTS[:1], numerics, [], tmp_path)
    outputs = Eager("cpu").load(tmp_path, Structure("kind").build, numerics, 1)(INPUTS)
    assert functional.cosine_similarity(outputs.flatten(), expected.flatten(), dim=0) > 0.95


@pytest.mark.parametrize("format_", [None, "int8-dynamic"])
def test_weights_that_are_shared_are_on_disk_once(
    format_: str | None, made: Callable[[str], nn.Module], tmp_path: Path
) -> None:
    model = made("tied").eval()
    Eager("cpu").lower(copy_of(model), INPUTS[:1], Numerics(format_, "fp32"), [], tmp_path)
    stored = load_file(tmp_path / WEIGHTS)
    large = [name for name, tensor in stored.items() if tensor.numel() == 16 * 16]
    assert len(large) == 1, large


def test_extra_state_that_only_pickle_would_keep_is_one_line(
    made: Callable[[str], nn.Module], tmp_path: Path
) -> None:
    model = made("extra state")
    model.scale = {1, 2}
    with pytest.raises(StageError, match="extra state _extra_state: a dict that is not JSON"):
        save_model(tmp_path, Structure("kind"), model)


def test_a_copy_shares_nothing_and_keeps_what_was_computed(made: Callable[[str], nn.Module]) -> None:
    model = made("remembering")
    model(INPUTS)
    copy = copy_of(model)
    assert torch.equal(copy.seen[0], model.seen[0]) and copy.seen[0] is not model.seen[0]
    assert copy.net[0].weight is not model.net[0].weight
