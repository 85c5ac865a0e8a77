"""Files of torch.export.save: good ones load as PyTorch loads them, hostile ones execute nothing."""

from __future__ import annotations

import contextlib
import io
import json
import shutil
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.export import Dim

from bench.errors import StageError
from bench.execution.job import Job
from bench.execution.options import RunOptions
from bench.execution.resources import Resources
from bench.matrix.file import Budget
from bench.records import PlannedRequest, Request, as_json, read_as
from bench.results.store import StageRow, Store
from bench.workloads import trust
from bench.workloads.exported_checks import CouldRunCode, check_operator
from bench.workloads.exported_expressions import NotArithmetic, check_guard, check_size
from bench.workloads.exported_file import check_file, load_program
from tests.fuzz.harness import run

Members = dict[str, bytes]
Change = Callable[[Members, str], None]


class Shapes(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(8, 4)
        self.named = torch.nn.ModuleDict({"a-b c": torch.nn.Linear(4, 4)})
        self.register_buffer("offset", torch.ones(4))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            hidden = self.linear(inputs) + self.offset * torch.tensor(2.0)
        hidden = torch.cond(inputs.sum() > 0, torch.sin, torch.cos, (hidden,))
        pooled = torch.nn.functional.avg_pool1d(hidden, 3, 2, 1)
        return self.named["a-b c"](hidden.reshape(inputs.shape[0], -1)[:, :4]) + pooled.mean()


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("good") / "good.pt2"
    model, inputs = Shapes().eval(), torch.randn(4, 8)
    torch.export.save(torch.export.export(model, (inputs,), dynamic_shapes=({0: Dim.AUTO},)), path)
    return path


class Evil:
    """What leaves a file where it is unpickled."""

    def __init__(self, marker: str) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return open, (self.marker, "w")


def pickled(marker: str) -> bytes:
    content = io.BytesIO()
    torch.save((Evil(marker),), content)
    return content.getvalue()


def change(good: Path, path: Path, edit: Change, marker: Path) -> Path:
    """Write a program with its members edited, their names less the folder that all have."""
    with zipfile.ZipFile(good) as archive:
        members = {name.partition("/")[2]: archive.read(name) for name in archive.namelist()}
    edit(members, str(marker))
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(f"{path.stem}/{name}", content)
    return path


def program(edit: Callable[[dict[str, Any], str], object]) -> Change:
    """Return a change of what the program says."""

    def changed(members: Members, marker: str) -> None:
        content = json.loads(members["models/model.json"])
        edit(content, marker)
        members["models/model.json"] = json.dumps(content).encode()

    return changed


def python(marker: str) -> str:
    return f"__import__('pathlib').Path('{marker}').touch()"


def weights(members: Members, marker: str) -> None:
    name = "data/weights/model_weights_config.json"
    content = json.loads(members[name])
    content["config"]["linear.bias"]["use_pickle"] = True
    members[name] = json.dumps(content).encode()
    members[f"data/weights/{content['config']['linear.bias']['path_name']}"] = pickled(marker)


def constants(members: Members, marker: str) -> None:
    import pickle

    name = "data/constants/model_constants_config.json"
    content = json.loads(members[name])
    told = {"path_name": "opaque_obj_0", "is_param": False, "use_pickle": True, "tensor_meta": None}
    content["config"]["evil"] = told
    members[name] = json.dumps(content).encode()
    members["data/constants/opaque_obj_0"] = pickle.dumps(Evil(marker))


def older_weights(members: Members, marker: str) -> None:
    members["data/weights/model.pt"] = pickled(marker)


def samples(members: Members, marker: str) -> None:
    members["data/sample_inputs/model.pt"] = pickled(marker)


def size(content: dict[str, Any], marker: str) -> None:
    graph = content["graph_module"]["graph"]
    graph["tensor_values"][graph["inputs"][-1]["as_tensor"]["name"]]["sizes"][0]["as_expr"]["expr_str"] = (
        python(marker)
    )


def guard(content: dict[str, Any], marker: str) -> None:
    content["guards_code"] = [f"{python(marker)} is None"]


def name(content: dict[str, Any], marker: str) -> None:
    signature = content["graph_module"]["module_call_graph"][0]["signature"]
    signature["forward_arg_names"] = [f"inputs={python(marker)}"]


def operator(content: dict[str, Any], marker: str) -> None:
    argument = {"name": "", "arg": {"as_string": f"touch {marker}"}, "kind": 1}
    node = {"target": "torch.os.system", "inputs": [argument], "outputs": [], "metadata": {}}
    content["graph_module"]["graph"]["nodes"].insert(0, node)


def containers(content: dict[str, Any], marker: str) -> None:
    context = {"default_factory_module": "evil_module", "default_factory_name": "x", "dict_context": []}
    tree = {"type": "collections.defaultdict", "context": context, "children_spec": []}
    content["graph_module"]["module_call_graph"][0]["signature"]["out_spec"] = json.dumps([1, tree])


HOSTILE: dict[str, tuple[Change, str]] = {
    "weights": (weights, "a pickle for 'linear.bias'"),
    "constants": (constants, r"a pickle \('data/constants/opaque_obj_0'\)"),
    "older weights": (older_weights, r"a pickle \('data/weights/model.pt'\)"),
    "samples": (samples, "a pickle of more than tensors as its sample inputs"),
    "size": (program(size), "Python as a symbolic size"),
    "guard": (program(guard), "Python as a guard"),
    "name": (program(name), "the argument .inputs=__import__"),
    "operator": (program(operator), "a call of 'torch.os.system'"),
    "containers": (program(containers), "containers that may import modules"),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_program_executes_nothing_and_says_why(
    good: Path, tmp_path: Path, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    edit, told = HOSTILE[what]
    marker, path = tmp_path / "marker", tmp_path / "evil.pt2"
    (tmp_path / "evil_module.py").write_text(f"x = int\nopen({str(marker)!r}, 'w')\n")
    monkeypatch.syspath_prepend(tmp_path)
    change(good, path, edit, marker)
    for read in (check_file, load_program):
        with pytest.raises(
            StageError, match=f"refused, it holds {told}.* --trust .*evil.pt2 loads it anyway"
        ):
            read(path)
    assert not marker.exists()


@pytest.mark.parametrize("what", ["weights", "constants", "samples", "size"])
def test_pytorch_itself_executes_it(good: Path, tmp_path: Path, what: str) -> None:
    """Else the test above would prove nothing."""
    marker = tmp_path / "marker"
    path = change(good, tmp_path / "evil.pt2", HOSTILE[what][0], marker)
    with contextlib.suppress(Exception):  # of many classes, once the marker is there
        torch.export.load(path)
    assert marker.exists()


def test_a_compiled_library_in_a_program_is_not_loaded(good: Path, tmp_path: Path) -> None:
    marker, library = tmp_path / "marker", tmp_path / "evil.so"
    library.write_bytes(b"\x7fELF")
    if shutil.which("gcc"):
        source = (
            f'#include <stdio.h>\n__attribute__((constructor)) void evil() {{ fopen("{marker}", "w"); }}\n'
        )
        words = ["gcc", "-shared", "-fPIC", "-x", "c", "-", "-o", str(library)]
        subprocess.run(words, input=source.encode(), check=True)

    def compiled(members: Members, marker: str) -> None:
        members["data/aotinductor/model/evil.so"] = library.read_bytes()
        members["data/aotinductor/model/evil_metadata.json"] = b'{"AOTI_DEVICE_KEY": "cpu"}'

    path = change(good, tmp_path / "evil.pt2", compiled, marker)
    with pytest.raises(StageError, match=r"a compiled library \('data/aotinductor/model/evil.so'\)"):
        load_program(path)
    assert not marker.exists()


def test_a_good_program_is_what_pytorch_loads(good: Path) -> None:
    ours, theirs = load_program(good), torch.export.load(good)
    inputs = torch.randn(7, 8, generator=torch.Generator().manual_seed(0))
    assert torch.equal(ours.module()(inputs), theirs.module()(inputs))
    assert torch.equal(ours.example_inputs[0][0], theirs.example_inputs[0][0])
    assert ours.range_constraints.keys() == theirs.range_constraints.keys()


def test_what_the_user_trusts_is_loaded_as_it_is(
    good: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trust, "_trusted", set())
    marker = tmp_path / "marker"
    path = change(good, tmp_path / "evil.pt2", program(size), marker)
    trust.trust([path])
    check_file(path)
    with contextlib.suppress(Exception):  # what PyTorch makes of it
        load_program(path)
    assert marker.exists()


def test_a_run_hands_what_is_trusted_to_its_workers_and_repeats_it_in_its_command(tmp_path: Path) -> None:
    options = RunOptions("serve", tmp_path, trusted=(tmp_path / "model.pt2",))
    assert f"--trust {tmp_path / 'model.pt2'} --results" in options.command
    store = Store.open(tmp_path)
    resources = Resources((0,), 2**30)
    job = Job("run", store, tmp_path, Budget(), resources, trusted=("model.pt2",))
    request = job.request(StageRow("a" * 64, "infer", "net", True, (), PlannedRequest()), 0, (0,), resources)
    assert request.trusted == ("model.pt2",)
    assert read_as(Request, json.loads(json.dumps(as_json(request)))) == request


@pytest.mark.parametrize("command", ["run", "flops"])
def test_the_command_line_refuses_in_one_line_before_anything_runs(
    good: Path, tmp_path: Path, command: str
) -> None:
    marker = tmp_path / "marker"
    workload = f"exported:{change(good, tmp_path / 'evil.pt2', samples, marker)}"
    words = {"run": ("run", "-m", "serve", "--workload", workload), "flops": ("flops", workload)}[command]
    outcome = run((*words, "--results", str(tmp_path / "results")))
    assert (outcome.code, outcome.uncaught, outcome.err.count("\n")) == (2, "", 1)
    assert "could run code; --trust" in outcome.err and not marker.exists()


def compressed(members: Members, marker: str) -> None:
    members["extra/bomb"] = bytes(2**20)


def test_a_compressed_archive_is_not_unpacked(good: Path, tmp_path: Path) -> None:
    path = change(good, tmp_path / "bomb.pt2", compressed, tmp_path / "marker")
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    with pytest.raises(StageError, match="its members are larger than the file"):
        load_program(path)


def test_a_shape_larger_than_its_data_is_not_allocated(good: Path, tmp_path: Path) -> None:
    def grown(members: Members, marker: str) -> None:
        name = "data/weights/model_weights_config.json"
        content = json.loads(members[name])
        content["config"]["linear.bias"]["tensor_meta"]["sizes"] = [{"as_int": 2**40}]
        members[name] = json.dumps(content).encode()

    path = change(good, tmp_path / "bomb.pt2", grown, tmp_path / "marker")
    with pytest.raises(StageError, match=r"'linear.bias' has 16 bytes, too few for its shape"):
        load_program(path)


@pytest.mark.parametrize("content", [b"", b"PK", b"not a program", b"\x80\x04."])
def test_what_is_no_program_is_one_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "model.pt2").write_bytes(content)
    with pytest.raises(StageError, match=r"is not a program that torch.export.save wrote: [^\n]+$"):
        load_program(tmp_path / "model.pt2")


@pytest.mark.parametrize(
    "text",
    [
        "Symbol('s77', positive=True, integer=True)",
        "Add(Mul(Integer(-2), Symbol('s0', integer=True)), Mod(Symbol('s1', integer=True), Integer(4)))",
        "Pow(Symbol('s0', integer=True), Integer(2))",
        "FloorDiv(Symbol('u0', integer=True), Rational(1, 2))",
        "Float('0.5', precision=53)",
        "2*s0 + 1",
        "((s1 - 1)//2)**2",
    ],
)
def test_sizes_are_arithmetic(text: str) -> None:
    check_size(text)


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os')",
        "Symbol('s0').__class__",
        "Symbol('s0', **{})",
        "Symbol(Symbol)",
        "Integer(2)(3)",
        "[x for x in (1,)]",
        "lambda: 1",
        "open('x','w')",
        "Pow(Integer(9), Integer(999999999))",
        "Pow(Pow(Pow(s0, 2), 2), 2)",
        "9**9**9",
        "LShift(Integer(1), Integer(99999999999))",
        "s0.evalf()",
        "eval",
        "s0\n",
        "(" * 300 + "1" + ")" * 300,
        "9" * 5000,
        "",
    ],
)
def test_what_is_more_than_arithmetic_is_refused(text: str) -> None:
    with pytest.raises(NotArithmetic):
        check_size(text)


def test_guards_compare_sizes_of_inputs() -> None:
    check_guard("(1 + (((-1) + L['flat_args'][0].size()[2]) // 2)) != 1")
    check_guard("L['x'].size()[1] % 4 == 0 and not L['x'].stride()[0] < 2")
    for text in ("L.__class__", "L['x'].apply_(1)", "L['x'].size(open('x'))", "s0 == 1", "f'{L}' == ''"):
        with pytest.raises(NotArithmetic):
            check_guard(text)


def test_only_operators_that_compute_are_called() -> None:
    for target in (
        "torch.ops.aten.add.Tensor",
        "_operator.mul",
        "torch.sym_max",
        "torch.ops.higher_order.cond",
    ):
        check_operator(target)
    for target in (
        *(
            "torch.ops.aten.from_file.default",
            "torch.ops.aten.save.default",
            "torch.ops.load_library",
            "math.os",
        ),
        *(
            "torch.load",
            "torch.hub.load",
            "_operator.attrgetter",
            "torch.ops.symm_mem.x.default",
            "#x:y",
            "print",
        ),
        *("torch.ops.aten.__class__.default", "torch.ops.higher_order.call_torchbind", "torch.ops.aten.add"),
    ):
        with pytest.raises(CouldRunCode):
            check_operator(target)
