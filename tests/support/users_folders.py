"""What a user's folder may hold: workloads of every kind, what each draws in, and edits of it."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import nn

NET = "    return torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.ReLU(), torch.nn.Linear(4, 2))"

OWN = """
import torch
from bench.workloads.classification import accuracy_and_recall
from bench.workloads.workload import Data, Workload
{imports}

def net(width=1.0):
    return torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.ReLU(), torch.nn.Linear(4, 2))

def data():
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(40, 4, generator=generator)
    targets = (inputs[:, 0] > 0).long()
    {data}
    return Data(inputs[:30], targets[:30], inputs[30:], targets[30:])

def make():
    return Workload(data, lambda x: x, net, torch.nn.functional.cross_entropy, accuracy_and_recall)
"""

MODULE = """
import torch
{imports}

def make():
    torch.manual_seed(0)
    model = torch.nn.Linear(4, 2)
    {data}
    return model, torch.ones(4, 4)
"""

TABLE = """
from bench.workloads.classification import accuracy_and_recall
from bench.workloads.sources import text_table
from bench.workloads.workload import Workload
import torch

def net(width=1.0):
    return torch.nn.Sequential(torch.nn.Embedding(100, 4), torch.nn.Flatten(), torch.nn.Linear(16, 2))

def make():
    return Workload(lambda: text_table("texts.csv", 4).data, lambda x: x, net,
                    torch.nn.functional.cross_entropy, accuracy_and_recall)
"""

IMAGES = """
from bench.workloads.classification import accuracy_and_recall
from bench.workloads.sources import image_folder
from bench.workloads.workload import Workload
import torch

def net(width=1.0):
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(48, 2))

def make():
    return Workload(lambda: image_folder("photos", 4).data, lambda x: x.float(), net,
                    torch.nn.functional.cross_entropy, accuracy_and_recall)
"""

OPTIMIZER = """
import helper
from techniques.optimizers import OPTIMIZERS

OPTIMIZERS.add("halved", "halved_sgd:build", about="SGD by half", defaults={"lr": 0.1})
"""

BUILD = """
import torch
import helper

def build(named_parameters, lr):
    return torch.optim.SGD([parameter for _, parameter in named_parameters], lr=lr * helper.FACTOR)
"""


@dataclass(frozen=True)
class Case:
    """A user's folder, the workload that lies in it, and edits: those that matter, by what a reason names."""

    workload: str
    files: Callable[[], None]
    matters: dict[str, Callable[[], object]]
    does_not: dict[str, Callable[[], object]] = field(default_factory=dict)
    optimizer: str = "adam"
    plugins: tuple[str, ...] = ()


def write(name: str, text: str) -> Callable[[], object]:
    def writing() -> None:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text(text)

    return writing


def all_of(*steps: Callable[[], object]) -> Callable[[], None]:
    def doing() -> None:
        for step in steps:
            step()

    return doing


def save(name: str, value: float) -> Callable[[], object]:
    return lambda: torch.save(torch.full((4,), value), name)


def save_safely(name: str, value: float) -> Callable[[], object]:
    from safetensors.torch import save_file

    return lambda: save_file({"bias": torch.full((2,), value)}, name)


def exported(value: float) -> Callable[[], object]:
    def saving() -> None:
        model = nn.Linear(4, 2)
        nn.init.constant_(model.weight, value)
        nn.init.constant_(model.bias, value)
        torch.export.save(torch.export.export(model, (torch.ones(2, 4),)), "model.pt2")

    return saving


def onnx_file(value: float) -> Callable[[], object]:
    def saving() -> None:
        import onnx
        from onnx import TensorProto, helper, numpy_helper

        weight = numpy_helper.from_array(np.full((4, 2), value, dtype=np.float32), "w")
        put = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 4])]
        out = [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 2])]
        node = helper.make_node("MatMul", ["x", "w"], ["y"])
        graph = helper.make_graph([node], "g", put, out, [weight])
        opset = [helper.make_opsetid("", 17)]
        onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), "model.onnx")

    return saving


def photographs(grey: int, count: int = 6) -> Callable[[], object]:
    def saving() -> None:
        from PIL import Image

        for name in ("cat", "dog"):
            Path("photos", name).mkdir(parents=True, exist_ok=True)
            for number in range(count):
                pixels = np.full((4, 4, 3), grey if (name, number) == ("cat", 0) else 9, dtype=np.uint8)
                Image.fromarray(pixels).save(f"photos/{name}/{number}.png")

    return saving


def texts(first: str) -> Callable[[], object]:
    rows = [f"{first} {number},good\nbad thing {number},bad" for number in range(20)]
    return write("texts.csv", "text,label\n" + "\n".join(rows) + "\n")


def transformer(seed: int) -> Callable[[], object]:
    def saving() -> None:
        from transformers import BertConfig, BertForSequenceClassification

        torch.manual_seed(seed)
        sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 8}
        config = BertConfig(vocab_size=20, max_position_embeddings=16, **sizes)
        BertForSequenceClassification(config).save_pretrained("bert")

    return saving


def own(imports: str = "", data: str = "pass") -> str:
    return OWN.format(imports=imports, data=data)


CLASS_NET = """
class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.last, self.factor = torch.nn.Linear(4, 2), 1.0
        {begin}

    def forward(self, batch):
        return self.last(batch) * {factor}
"""


def net(begin: str = "pass", factor: str = "self.factor", imports: str = "import os") -> str:
    return own(f"{imports}\n{CLASS_NET.format(begin=begin, factor=factor)}").replace(NET, "    return Net()")


HOLDS = {
    "buffer not saved": "self.register_buffer('s', load_file('s.safetensors')['bias'], False)",
    "tensor": "self.s = load_file('s.safetensors')['bias']",
    "tensors in a list in a dictionary": "self.s = {'a': [load_file('s.safetensors')['bias']]}",
    "number": "self.s = load_file('s.safetensors')['bias'][0].item()",
    "array": "self.s = load_file('s.safetensors')['bias'].numpy()",
}
"""What a model holds that is none of its state, though all of it counts."""

ASKS = {
    "variable": ("float(os.environ['SCALE'])", lambda: os.environ.update(SCALE="2")),
    "whether a file is there": ("(2.0 if os.path.exists('flag') else 1.0)", write("flag", "")),
}
"""What only `forward` asks, and an edit of it."""

IN_TURN = {
    "made earlier on the path": ("import sys; sys.path.append('lib'); import later", "later"),
    "that was not there": ("import later", "later"),
    "that was not there, in a package": ("from parts import more", "parts.more"),
    "of a package that was not there": ("from later_parts import SCALE", "later_parts"),
}
"""Imports that lead elsewhere once there are the files of `made_later`, and which module then does."""


def made_later() -> None:
    for name in ("later", "parts/more", "later_parts/__init__"):
        write(f"{name}.py", "SCALE = 2.0\n")()


def not_yet_made() -> None:
    for name in ("later", "parts/more", "later_parts/__init__"):
        Path(f"{name}.py").unlink(missing_ok=True)
    write("lib/later.py", "SCALE = 1.0\n")()
    write("parts/__init__.py", "")()


READS = {
    "module beside": ("import mydata", "inputs = inputs * mydata.SCALE"),
    "package beside": ("from mine_parts import scales", "inputs = inputs * scales.SCALE"),
    "module that a function imports": ("", "import mydata; inputs = inputs * mydata.SCALE"),
    "module of a module": ("import outer", "inputs = inputs * outer.mydata.SCALE"),
    "JSON": ("import json", "inputs = inputs * json.load(open('scale.json'))"),
    "NumPy": ("import numpy", "inputs = inputs * float(numpy.load('scale.npy'))"),
    "mapped": ("import numpy", "inputs = inputs * float(numpy.load('scale.npy', mmap_mode='r')[()])"),
    "pandas": ("import pandas", "inputs = inputs * float(pandas.read_csv('scale.csv')['scale'][0])"),
    "SQLite": (
        "import sqlite3",
        "inputs = inputs * sqlite3.connect('scale.db').execute('select scale from t').fetchone()[0]",
    ),
    "a descriptor": ("import os", "inputs = inputs * float(os.read(os.open('scale.json', os.O_RDONLY), 9))"),
    "environment": ("import os", "inputs = inputs * float(os.environ.get('SCALE', '1'))"),
}


def scale(number: float) -> Callable[[], None]:
    def writing() -> None:
        import sqlite3

        write("mydata.py", f"SCALE = {number}\n")()
        write("outer.py", "import mydata\n")()
        write("mine_parts/__init__.py", "")()
        write("mine_parts/scales.py", f"SCALE = {number}\n")()
        write("scale.json", f"{number}")()
        write("scale.csv", f"scale\n{number}\n")()
        np.save("scale.npy", np.float64(number))
        Path("scale.db").unlink(missing_ok=True)
        with sqlite3.connect("scale.db") as base:
            base.execute("create table t (scale real)")
            base.execute("insert into t values (?)", (number,))
        os.environ["SCALE"] = str(number)

    return writing


CASES = (
    {
        f"own, {what}": Case(
            "mine.py:make,train_steps=2",
            all_of(scale(1.0), write("mine.py", own(*reads)), write("other.py", "x = 1\n")),
            {what: scale(2.0)},
            {
                "other file": write("other.py", "x = 2\n"),
                "comment": write("mine.py", "# new\n" + own(*reads)),
            },
        )
        for what, reads in READS.items()
    }
    | {
        f"own, {what} in the model": Case(
            "mine.py:make,train_steps=2",
            all_of(
                save_safely("s.safetensors", 1.0),
                write("mine.py", net(begin, imports="from safetensors.torch import load_file")),
            ),
            {"the model of": save_safely("s.safetensors", 2.0)},
        )
        for what, begin in HOLDS.items()
    }
    | {
        f"own, module {what}": Case(
            "mine.py:make,train_steps=2",
            all_of(not_yet_made, write("mine.py", own(f"try:\n    {line}\nexcept ImportError:\n    pass"))),
            {f"the import path of {module}": made_later},
            {"other file": write("other.py", "x = 1\n"), "beside it": write("lib/other.py", "x = 1\n")},
        )
        for what, (line, module) in IN_TURN.items()
    }
    | {
        f"own, forward asks for a {what}": Case(
            "mine.py:make,train_steps=2",
            all_of(lambda: os.environ.update(SCALE="1"), write("mine.py", net(factor=factor))),
            {"the outputs of": edit},
        )
        for what, (factor, edit) in ASKS.items()
    }
    | {
        "own, its file": Case(
            "mine.py:make,train_steps=2",
            write("mine.py", own()),
            {"mine.py": write("mine.py", own().replace("> 0", "> 1"))},
        ),
        "own, weights read by a library": Case(
            "mine.py:make,train_steps=2",
            all_of(
                save_safely("start.safetensors", 1.0),
                write(
                    "mine.py",
                    own("from safetensors.torch import load_file").replace(
                        NET,
                        "    model = torch.nn.Sequential(torch.nn.Linear(4, 2))\n"
                        "    model[0].bias.data = load_file('start.safetensors')['bias']\n    return model",
                    ),
                ),
            ),
            {"the model of": save_safely("start.safetensors", 2.0)},
        ),
        "module": Case(
            "module:mine.py:make",
            all_of(
                save("bias.pt", 1.0),
                write("helper.py", "SIZE = 1\n"),
                write("mine.py", MODULE.format(imports="import helper", data="torch.load('bias.pt')")),
            ),
            {"bias.pt": save("bias.pt", 2.0), "helper.py": write("helper.py", "SIZE = 2\n")},
            {"comment": write("helper.py", "SIZE = 1  # one\n")},
        ),
        "exported": Case("exported:model.pt2", exported(1.0), {"model.pt2": exported(2.0)}),
        "onnx": Case(
            "onnx:model.onnx", onnx_file(1.0), {"model.onnx": onnx_file(2.0)}, {"new": write("n.txt", "new")}
        ),
        "onnx with samples": Case(
            "onnx:model.onnx,inputs=samples.npy",
            all_of(onnx_file(1.0), lambda: np.save("samples.npy", np.ones((3, 4), np.float32))),
            {"samples.npy": lambda: np.save("samples.npy", np.zeros((3, 4), np.float32))},
        ),
        "huggingface": Case(
            "huggingface:bert,length=8", transformer(0), {"bert/model.safetensors": transformer(1)}
        ),
        "images": Case(
            "mine.py:make,train_steps=2",
            all_of(photographs(9), write("mine.py", IMAGES)),
            {
                "photos/cat/0.png": photographs(200),
                "the content of folder photos/cat": photographs(9, count=7),
            },
            {"written again, the same": photographs(9)},
        ),
        "texts": Case(
            "mine.py:make,train_steps=2",
            all_of(texts("good thing"), write("mine.py", TABLE)),
            {"texts.csv": texts("fine thing")},
        ),
        "plug-in": Case(
            "digits",
            all_of(
                write("plugin.py", OPTIMIZER),
                write("halved_sgd.py", BUILD),
                write("helper.py", "FACTOR = 0.5\n"),
                write("other.py", "x = 1\n"),
            ),
            {
                "halved_sgd.py": write("halved_sgd.py", BUILD.replace("SGD([", "Adam([")),
                "helper.py": write("helper.py", "FACTOR = 0.25\n"),
            },
            {
                "other file": write("other.py", "x = 2\n"),
                "comment": write("helper.py", "FACTOR = 0.5 # 1/2\n"),
            },
            optimizer="halved",
            plugins=("plugin.py",),
        ),
    }
)
