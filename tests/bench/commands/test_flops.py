"""`bench flops`: what it prints of a workload, a model of the user's own, an ONNX file and a cell."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import numpy as np
import onnx
import pytest
import torch

from bench.commands.flops import FlopQuestion, flop_report
from bench.errors import BenchError

MODEL = """
import torch

def net():
    return torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.BatchNorm2d(8))

def strange():
    return 3
"""


SPECTRAL = """
import torch

class Spectral(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.last = torch.nn.Linear(9, 4)

    def forward(self, source):
        return self.last(torch.fft.rfft(source).abs())

def net():
    return Spectral()
"""


@pytest.fixture
def model(tmp_path: Path) -> str:
    (tmp_path / "mine.py").write_text(MODEL)
    return f"{tmp_path}/mine.py"


def test_of_a_workload_modules_and_the_training_step_are_counted(command):
    done = command("flops", "digits", "--optimizer", "adam:lr=0.01")
    assert done.returncode == 0, done.stderr
    whole = 2 * (64 * 27 * 16 + 16 * 9 * 16 * 32 + 2 * 2 * 32 * 128 + 128 * 10)
    assert f"{whole:,}" in done.stdout
    assert (
        f"a training step, batch 32, adam:lr=0.01:\n  forward and loss: {32 * whole:,} FLOPs" in done.stdout
    )
    assert "optimizer: 0 FLOPs" in done.stdout


def test_of_a_users_own_model_every_difference_to_fvcore_has_its_reason(command, model):
    done = command("flops", f"{model}:net", "--input", "1,3,8,8")
    assert done.returncode == 0, done.stderr
    assert f"{2 * 36 * 27 * 8:,}" in done.stdout
    assert "fvcore counts batch_norm too" in done.stdout


def test_of_an_onnx_file_its_graph_is_counted(command, tmp_path):
    path = tmp_path / "layer.onnx"
    torch.onnx.export(torch.nn.Linear(20, 30).eval(), (torch.zeros(7, 20),), path, dynamo=True, verbose=False)
    done = command("flops", path)
    assert done.returncode == 0, done.stderr
    assert f"one run: {2 * 7 * 20 * 30:,} FLOPs" in done.stdout


def test_of_an_onnx_file_with_an_open_batch_the_sizes_are_said(command, tmp_path):
    value = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("MatMul", ["x", "w"], ["y"])],
        "layer",
        [value("x", onnx.TensorProto.FLOAT, ["batch", 20])],
        [value("y", onnx.TensorProto.FLOAT, ["batch", 30])],
        [onnx.numpy_helper.from_array(np.ones((20, 30), np.float32), "w")],
    )
    path = tmp_path / "layer.onnx"
    imports = [onnx.helper.make_opsetid("", 17)]
    onnx.save(onnx.helper.make_model(graph, opset_imports=imports, ir_version=8), path)
    done = command("flops", f"onnx:{path}", "--batch", "3")
    assert done.returncode == 0, done.stderr
    assert f"one run: {2 * 3 * 20 * 30:,} FLOPs" in done.stdout and "input x (3, 20)" in done.stdout
    done = command("flops", path, "--input", "3,21")
    assert done.returncode == 2 and "must be of shape (batch, 20), got (3, 21)" in done.stderr
    (tmp_path / "empty.onnx").touch()
    done = command("flops", tmp_path / "empty.onnx")
    assert done.returncode == 2 and "it holds no graph that returns anything" in done.stderr


def test_what_is_counted_of_an_incomplete_model_is_a_lower_bound(tmp_path):
    (tmp_path / "spectral.py").write_text(SPECTRAL)
    target = f"{tmp_path}/spectral.py:net"
    report = flop_report(FlopQuestion(target, tmp_path, input_shape=(2, 16)))
    by_module = {row[0]: row[2] for row in report.rows}
    assert by_module == {"(whole model)": "≥ 144", "last": "144"}
    assert report.notes == (
        "incomplete: no formula for aten._fft_r2c",
        "without zero weights: ≥ 144 FLOPs",
    )


@pytest.mark.slow
def test_of_a_cell_the_model_that_it_serves_is_counted(bench, command, tmp_path):
    matrix = tmp_path / "one.toml"
    matrix.write_text(
        '[train]\nworkload = "digits"\noptimizer = "adam"\n'
        '[infer]\ncompression = "prune-channels:0.5"\nbackend = "onnxruntime"\n'
    )
    results = tmp_path / "results"
    assert bench("run", "--matrix", matrix, "--smoke", "--results", results).returncode == 0
    done = command("flops", "digits/adam/prune-channels:0.5@onnxruntime", "--results", results)
    assert done.returncode == 0, done.stderr
    whole = 2 * (64 * 27 * 8 + 16 * 9 * 8 * 16 + 2 * 2 * 16 * 64 + 64 * 10)
    assert f"{whole:,}" in done.stdout
    assert f"the ONNX file that is served, by its graph: {whole:,} FLOPs" in done.stdout


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["flops", "digts"], "did you mean 'digits'?"),
        (["flops", "nowhere.onnx"], "nowhere.onnx: no such file"),
        (["flops", "MODEL:net"], "the shape of its input is required"),
        (["flops", "MODEL:nett", "--input", "1,3,8,8"], "did you mean 'net'?"),
        (["flops", "MODEL:strange", "--input", "1,3,8,8"], "must be a torch.nn.Module"),
        (["flops", "MODEL:net", "--input", "1;3"], "--input must be a shape such as 1,3,28,28"),
        (["flops", "MODEL:net", "--input", "1,4,8,8"], "rejects an input of shape (1, 4, 8, 8)"),
        (["flops", "MODEL"], "must be a workload, a cell's name, an .onnx file or module:name"),
    ],
)
def test_a_mistake_gets_one_line(command, model, tmp_path, words, message):
    words = [word.replace("MODEL", model) for word in words]
    done = command(*words, "--results", tmp_path / "none")
    assert done.returncode == 2
    assert message in done.stderr and len(done.stderr.strip().splitlines()) == 1


OF_ANY_KIND = """
import torch
from torch import nn

class Raises(nn.Module):
    def __init__(self, error):
        super().__init__()
        self.error = error

    def forward(self, source):
        raise self.error

def fails():
    raise RuntimeError("y" * 2000)

def exits():
    raise SystemExit(7)

def exits_forward():
    return Raises(SystemExit(7))

def stops_forward():
    return Raises(GeneratorExit("b"))

def long_forward():
    return Raises(ValueError("x" * 3000))

def half():
    return nn.Linear(8, 4).half()

def double():
    return nn.Linear(8, 4).double()

def complex():
    return nn.Linear(8, 4, dtype=torch.cfloat)

def scripted():
    return torch.jit.script(nn.Sequential(nn.Linear(8, 4), nn.ReLU()))

def traced():
    return torch.jit.trace(nn.Linear(8, 4), torch.ones(2, 8))

def frozen():
    return torch.jit.freeze(torch.jit.script(nn.Linear(8, 4).eval()))

def partly():
    return nn.Sequential(torch.jit.script(nn.Linear(8, 4)), nn.Linear(4, 4))
"""


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        ("fails", "2,8", "fails: RuntimeError: yyy"),
        ("exits", "2,8", "exits: SystemExit: 7"),
        ("exits_forward", "2,8", "rejects an input of shape (2, 8): 7"),
        ("stops_forward", "2,8", "rejects an input of shape (2, 8): b"),
        ("long_forward", "2,8", "rejects an input of shape (2, 8): xxx"),
        ("half", "100000000000,8", "does not fit into the"),
        ("half", "100000000,1000", "does not fit into the"),
        ("half", "9" * 30 + ",8", "must have fewer than 2**40 numbers"),
    ],
)
def test_whatever_a_model_of_the_users_own_raises_is_one_short_line(
    command: Callable[..., CompletedProcess[str]], tmp_path: Path, name: str, shape: str, message: str
) -> None:
    (tmp_path / "mine.py").write_text(OF_ANY_KIND)
    done = command("flops", f"{tmp_path}/mine.py:{name}", "--input", shape, "--results", tmp_path / "none")
    assert done.returncode == 2
    assert message in done.stderr and len(done.stderr.strip().splitlines()) == 1
    assert len(done.stderr) <= 520


@pytest.mark.parametrize(
    ("name", "flops", "rows"),
    [
        ("half", 2 * 2 * 8 * 4, 1),
        ("double", 2 * 2 * 8 * 4, 1),
        ("complex", 8 * 2 * 8 * 4, 1),
        ("scripted", 2 * 2 * 8 * 4, 1),
        ("traced", 2 * 2 * 8 * 4, 1),
        ("frozen", 2 * 2 * 8 * 4, 1),
        ("partly", 2 * 2 * (8 * 4 + 4 * 4), 2),
    ],
)
def test_models_of_any_number_type_and_scripts_are_counted(
    name: str, flops: int, rows: int, tmp_path: Path
) -> None:
    (tmp_path / "mine.py").write_text(OF_ANY_KIND)
    report = flop_report(FlopQuestion(f"{tmp_path}/mine.py:{name}", tmp_path, input_shape=(2, 8)))
    assert report.rows[0][2] == f"{flops:,}"
    assert len(report.rows) == rows
    assert "whole numbers" not in report.title


OF_WHOLE_NUMBERS = """
import torch
from torch import nn

class Tagger(nn.Module):
    def __init__(self):
        super().__init__()
        self.words, self.out = nn.Embedding(10, 8), nn.Linear(8, 10)

    def forward(self, tokens):
        assert not tokens.is_floating_point()
        return self.out(self.words(tokens))

class Bag(nn.Module):
    def __init__(self):
        super().__init__()
        self.bag, self.out = nn.EmbeddingBag(10, 8), nn.Linear(8, 4)

    def forward(self, tokens):
        return self.out(self.bag(tokens))

class Padded(nn.Module):
    def __init__(self):
        super().__init__()
        self.words = nn.Embedding(10, 8, padding_idx=0)
        layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        self.block, self.out = nn.TransformerEncoder(layer, 1), nn.Linear(8, 4)

    def forward(self, tokens):
        return self.out(self.block(self.words(tokens), src_key_padding_mask=tokens == 0).mean(1))

def with_inputs():
    return Bag(), torch.ones(64, 5, dtype=torch.long)
"""


@pytest.mark.parametrize(
    ("name", "shape", "flops"),
    [
        ("Tagger", (1, 6), 2 * 6 * 8 * 10),
        ("Bag", (3, 5), 2 * 3 * 8 * 4),
        ("with_inputs", (), 2 * 8 * 4),
    ],
)
def test_a_model_of_whole_numbers_is_counted(
    name: str, shape: tuple[int, ...], flops: int, tmp_path: Path
) -> None:
    (tmp_path / "mine.py").write_text(OF_WHOLE_NUMBERS)
    report = flop_report(FlopQuestion(f"{tmp_path}/mine.py:{name}", tmp_path, input_shape=shape))
    assert report.rows[0][2] == f"{flops:,}"
    assert report.title.endswith("of whole numbers")


def test_a_transformer_with_a_padding_mask_is_counted(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(OF_WHOLE_NUMBERS)
    report = flop_report(FlopQuestion(f"{tmp_path}/mine.py:Padded", tmp_path, input_shape=(2, 6)))
    assert int(report.rows[0][2].split()[0].replace(",", "").removeprefix("≥")) > 2 * 2 * 4 * 8 * 4


def test_an_input_that_a_model_takes_neither_way_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(OF_WHOLE_NUMBERS.replace("nn.Linear(8, 10)", "nn.Linear(9, 10)"))
    with pytest.raises(BenchError, match=r"Tagger rejects an input of shape \(1, 6\): \S+") as raised:
        flop_report(FlopQuestion(f"{tmp_path}/mine.py:Tagger", tmp_path, input_shape=(1, 6)))
    assert "\n" not in str(raised.value)
