"""Models share a structure where only the values of dense weights differ, and nowhere else."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from bench.instruments.structure import observe
from bench.instruments.structure_of_files import describe_files

BATCHES = [torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0)) for _ in range(2)]


class Net(torch.nn.Module):
    """A small net with a branch that only Python sees."""

    def __init__(self, channels: int = 4) -> None:
        super().__init__()
        self.conv = torch.nn.Conv2d(3, channels, 3)
        self.norm = torch.nn.BatchNorm2d(channels)
        self.activation: torch.nn.Module = torch.nn.ReLU()
        self.head = torch.nn.Linear(channels, 5)
        self.times = 1

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        found = self.norm(self.conv(inputs))
        for _ in range(self.times):
            found = self.activation(found)
        return self.head(found.mean((2, 3)))


def net(seed: int = 0, change: Callable[[Net], object] | None = None, channels: int = 4) -> Net:
    torch.manual_seed(seed)
    model = Net(channels).eval()
    if change is not None:
        change(model)
    return model.eval()


def test_seeds_and_training_change_nothing_of_a_structure():
    trained = net(1)
    optimizer = torch.optim.SGD(trained.train().parameters(), 0.1)
    trained(BATCHES[0]).square().mean().backward()
    optimizer.step()
    assert observe(net(0), BATCHES) == observe(trained.eval(), BATCHES)


@pytest.mark.parametrize(
    "other",
    [
        lambda: net(channels=3),
        lambda: net(change=lambda model: setattr(model, "activation", torch.nn.GELU())),
        lambda: net(change=lambda model: setattr(model, "norm", torch.nn.Identity())),
        lambda: net(change=lambda model: setattr(model, "times", 2)),
        lambda: net(change=lambda model: setattr(model.conv, "stride", (2, 2))),
        lambda: net(change=lambda model: setattr(model, "activation", torch.nn.Sequential(model.activation))),
        lambda: net(change=lambda model: model.register_buffer("more", torch.zeros(3))),
        lambda: net(change=lambda model: model.head.weight.data.mul_(1e-40)),
    ],
    ids=["channels", "activation", "removed", "branch", "stride", "wrapped", "buffer", "subnormal"],
)
def test_what_changes_the_time_changes_the_digest(other):
    assert observe(net(), BATCHES).digest != observe(other(), BATCHES).digest


def test_half_precision_is_another_structure():
    halves = [batch.bfloat16() for batch in BATCHES]
    assert observe(net().bfloat16(), halves).digest != observe(net(), BATCHES).digest


def test_the_size_of_a_batch_counts_but_where_it_is_left_out():
    small, large = (observe(net(), [torch.zeros(size, 3, 8, 8)]) for size in (1, 2))
    assert small.digest != large.digest and small.any_batch == large.any_batch


class Sparse(torch.nn.Module):
    def __init__(self, kept: torch.Tensor, seed: int) -> None:
        super().__init__()
        weight = torch.rand(4, 4, generator=torch.Generator().manual_seed(seed)) + 1
        self.register_buffer("weight", (weight * kept).to_sparse_csr())

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return (self.weight @ inputs.T).T


@pytest.mark.filterwarnings("ignore:Sparse CSR")
def test_of_sparse_weights_the_pattern_counts_and_the_values_do_not():
    batch = [torch.ones(2, 4)]
    lower, upper = torch.ones(4, 4).tril(), torch.ones(4, 4).triu()
    assert observe(Sparse(lower, 0), batch) == observe(Sparse(lower, 1), batch)
    assert observe(Sparse(lower, 0), batch).digest != observe(Sparse(upper, 0), batch).digest


def test_the_batches_stay_as_they_are():
    class Normalizes(torch.nn.Module):
        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            return inputs.sub_(1)

    batch = torch.ones(2, 2)
    observe(Normalizes(), [batch])
    assert torch.equal(batch, torch.ones(2, 2))


def described(folder: Path, name: str, write: Callable[[Path], object]) -> list[object]:
    folder.mkdir()
    write(folder / name)
    return list(describe_files(folder))


def onnx_file(operator: str, first: float, second: float, shared: bool = False) -> Callable[[Path], object]:
    """Return a writer of a file that adds two weights, which may be kept once if they are equal."""
    onnx = pytest.importorskip("onnx")
    helper, numpy_helper = onnx.helper, onnx.numpy_helper
    weights = {"a": first} if shared else {"a": first, "b": second}
    tensors = [
        numpy_helper.from_array(torch.full((3,), value).numpy(), name) for name, value in weights.items()
    ]
    nodes = [
        helper.make_node(operator, ["x", "a"], ["y"]),
        helper.make_node("Add", ["y", "a" if shared else "b"], ["z"]),
    ]
    ends = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [2, 3]) for name in "xz"]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], tensors)
    return lambda path: onnx.save(helper.make_model(graph), path)


def test_an_onnx_file_counts_by_its_graph_and_not_by_its_weights(tmp_path):
    plain = described(tmp_path / "a", "model.onnx", onnx_file("Add", 1.0, 2.0))
    assert described(tmp_path / "b", "model.onnx", onnx_file("Add", 3.0, 4.0)) == plain
    assert described(tmp_path / "c", "model.onnx", onnx_file("Add", 3.0, 3.0, shared=True)) == plain
    assert described(tmp_path / "d", "model.onnx", onnx_file("Mul", 1.0, 2.0)) != plain


LAYER = """<net><layers><layer id="0" type="{kind}" version="opset1"><data shape="3" offset="{offset}"/>
<output><port id="0" precision="FP32"><dim>{size}</dim></port></output></layer></layers></net>"""


def ir(**changes: object) -> Callable[[Path], object]:
    text = LAYER.format(**({"kind": "Const", "offset": 0, "size": 3} | changes))
    return lambda path: path.write_text(text)


def test_an_openvino_file_counts_by_its_layers_and_not_by_where_weights_lie(tmp_path):
    plain = described(tmp_path / "a", "model.xml", ir())
    assert described(tmp_path / "b", "model.xml", ir(offset=12)) == plain
    assert described(tmp_path / "c", "model.xml", ir(size=4)) != plain
    assert described(tmp_path / "d", "model.xml", ir(kind="Relu")) != plain


def package(code: str, name: str = "k") -> Callable[[Path], object]:
    def write(path: Path) -> None:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(f"{name}.kernel.cpp", code)

    return write


def test_a_compiled_package_counts_by_its_code_and_not_by_learned_numbers(tmp_path):
    plain = described(tmp_path / "a", "model.pt2", package("f(x, 0.25, 3);  // built in /tmp/a\n"))
    assert described(tmp_path / "b", "model.pt2", package("f(x, 1.5e-05, 119);\n", "other")) == plain
    assert described(tmp_path / "c", "model.pt2", package("g(x, 0.25, 3);\n")) != plain
