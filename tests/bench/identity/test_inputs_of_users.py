"""Whatever a user's workload draws in: editing it makes its stages again, editing anything else does not."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pytest
import torch
from torch import nn

from bench import worker
from bench.artifacts import artifact_folder
from bench.discovered import Recorder
from bench.loaded import load_and_note, loader
from bench.matrix import read_matrix
from bench.plan import Plan, make_plan
from bench.plugins import load_plugins
from bench.records import Request
from bench.reuse import Reuse, read_inputs
from techniques.optimizers import OPTIMIZERS

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


CASES = {
    f"own, {what}": Case(
        "mine.py:make,train_steps=2",
        all_of(scale(1.0), write("mine.py", own(*reads)), write("other.py", "x = 1\n")),
        {what: scale(2.0)},
        {"other file": write("other.py", "x = 2\n"), "comment": write("mine.py", "# new\n" + own(*reads))},
    )
    for what, reads in READS.items()
} | {
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
        {"photos/cat/0.png": photographs(200), "what lies in photos/cat": photographs(9, count=7)},
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
        {"other file": write("other.py", "x = 2\n"), "comment": write("helper.py", "FACTOR = 0.5 # 1/2\n")},
        optimizer="halved",
        plugins=("plugin.py",),
    ),
}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Work in an empty folder of a user's, whose modules nothing has imported, and forget them afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delenv("SCALE", raising=False)
    before, rows = set(sys.modules), dict(OPTIMIZERS.rows())
    yield tmp_path
    for name in set(sys.modules) - before:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]
    monkeypatch.setattr(OPTIMIZERS, "_rows", rows)


def plan_of(case: Case, results: Path) -> Plan:
    """Plan the case as a new process does, which has imported nothing of the user's."""
    for name in [name for name, module in sys.modules.items() if _is_below(module, Path.cwd())]:
        del sys.modules[name]
    OPTIMIZERS._rows.pop("halved", None)
    plugins = load_plugins(map(Path, case.plugins))
    backend = "onnxruntime" if case.workload.startswith("onnx:") else "cpu-eager"
    Path("some.toml").write_text(
        f"[train]\nworkload = {json.dumps(case.workload)}\noptimizer = {json.dumps(case.optimizer)}\n"
        f'[infer]\ncompression = "none"\nbackend = "{backend}"\nbatch_size = 1\n[budget]\ntrain_steps = 2\n'
    )

    def load(settings: object) -> MappingProxyType[str, str]:
        for name in [name for name, module in sys.modules.items() if _is_below(module, Path.cwd())]:
            del sys.modules[name]
        with Recorder(results, hears_files=False) as recorder:
            load_and_note(settings)  # type: ignore[arg-type]
        return MappingProxyType(dict(recorder.loaded))

    plan = make_plan(read_matrix("some.toml"), 1, reuse=Reuse(results, load))
    assert plugins.keys() == {str(Path(name).resolve()) for name in case.plugins}
    return plan


def _is_below(module: object, folder: Path) -> bool:
    return str(getattr(module, "__file__", None) or "").startswith(f"{folder}{os.sep}")


def train(plan: Plan, results: Path) -> str:
    """Carry out the plan's one training in this process; return its key."""
    (stage,) = plan.of_kind("train")
    request = Request.planned(
        "train", stage.key, stage.label, stage.request, plugins={}, results=str(results), run_id="r", round=0,
        threads=1, cpus=(0,), memory_bytes=2**34, timeout_s=600.0,
    )  # fmt: skip
    result = worker.run(request)
    assert result.state == "ok", result.reason
    return stage.key


@pytest.mark.parametrize("name", CASES)
def test_what_a_training_drew_in_decides_whether_it_is_made_again(name: str, here: Path) -> None:
    case, results = CASES[name], here / "results"
    case.files()
    before = train(plan_of(case, results), results)
    assert [stage.key for stage in plan_of(case, results).of_kind("train")] == [before]
    for edit in case.does_not.values():
        edit()
        assert [stage.key for stage in plan_of(case, results).of_kind("train")] == [before]
    for edited, edit in case.matters.items():
        case.files()
        assert [stage.key for stage in plan_of(case, results).of_kind("train")] == [before]
        edit()
        plan = plan_of(case, results)
        (key,) = (stage.key for stage in plan.of_kind("train"))
        assert key != before and list(plan.again) == [key]
        if "." in edited or edited.startswith("the "):
            assert plan.again[key].startswith(edited) and plan.again[key].endswith(" changed")
        lowered = {stage.request["parents"]["model"] for stage in plan.of_kind("lower")}
        assert lowered == {key}


def test_a_made_variant_is_taken_up_again_and_so_is_the_first(here: Path) -> None:
    case, results = CASES["own, module beside"], here / "results"
    case.files()
    first = train(plan_of(case, results), results)
    scale(2.0)()
    second = train(plan_of(case, results), results)
    plan = plan_of(case, results)
    assert second != first and not plan.again and next(iter(plan.stages)) == second
    scale(1.0)()
    assert next(iter(plan_of(case, results).stages)) == first


def test_what_the_stage_itself_wrote_or_only_passed_by_is_no_input(here: Path) -> None:
    results = here / "results"
    cache = "open('cache.txt', 'a').write('x'); open('cache.txt').read()"
    write("mine.py", own("import numpy, yaml", cache))()
    key = train(plan_of(CASES["own, its file"], results), results)
    inputs = read_inputs(artifact_folder(results, key))
    assert inputs is not None
    assert list(inputs.files) == ["mine.py"] and not inputs.folders
    assert {"numpy", "PyYAML"} <= set(inputs.packages)
    assert sorted(inputs.loaded) == [
        f"the {what} of own:mine.py:make,train_steps=2" for what in ("data", "model")
    ]


def test_children_that_a_stage_forks_are_heard(here: Path) -> None:
    write("beside.txt", "1")()
    with Recorder(here / "results") as recorder:
        child = os.fork()
        if child == 0:
            Path("beside.txt").read_text()
            os._exit(0)
        os.waitpid(child, 0)
    assert list(recorder.inputs().files) == ["beside.txt"]


def test_a_file_that_was_looked_for_in_vain_is_an_input_too(here: Path) -> None:
    with Recorder(here / "results") as recorder:
        with pytest.raises(FileNotFoundError):
            Path("later.txt").read_text()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("tempfile.gettempdir", lambda: "/nowhere")  # where nothing passes by
            assert recorder.inputs().files["later.txt"].digest == ""


def test_a_process_of_its_own_loads_what_the_plan_asks_for(here: Path) -> None:
    case = CASES["own, module beside"]
    case.files()
    settings = {"workload": case.workload, "seed": 0, "test_samples": None}
    said: list[str] = []
    load = loader(here / "results", (), said.append)
    found = load(settings)
    assert sorted(found) == [f"the {what} of {case.workload}" for what in ("data", "model")]
    assert "loading mine.py:make" in said[0]
    assert load({**settings, "workload": "gone.py:make"}) == {}


def test_modules_beside_a_file_are_found_from_any_folder(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from techniques.registry import load_reference

    for name, number in (("one", 1), ("two", 2)):
        write(f"{name}/mine.py", "import beside_mine\ndef make():\n    return beside_mine.NUMBER\n")()
        write(f"{name}/beside_mine.py", f"NUMBER = {number}\n")()
    monkeypatch.chdir("/")
    assert [load_reference(f"{here / name}/mine.py:make")() for name in ("one", "two")] == [1, 2]
