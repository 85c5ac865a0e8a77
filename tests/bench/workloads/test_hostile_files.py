"""Models and data of somebody else: a pickle or code in any of them executes nothing, and gets one line."""

from __future__ import annotations

import json
import pickle
import shutil
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bench.errors import BenchError, DataError, StageError
from bench.workloads.loading import find_workload
from bench.workloads.sources import image_folder, text_table
from tests.fuzz.harness import run


class Evil:
    """What leaves a file where it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return open, (str(self.marker), "w")


@pytest.fixture
def marker(tmp_path: Path) -> Path:
    return tmp_path / "marker"


def test_the_pickle_of_these_tests_executes(marker: Path) -> None:
    pickle.loads(pickle.dumps(Evil(marker))).close()
    assert marker.exists()


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    transformers = pytest.importorskip("transformers")
    folder = tmp_path_factory.mktemp("bert")
    sizes = {"hidden_size": 8, "intermediate_size": 8, "vocab_size": 30, "max_position_embeddings": 16}
    config = transformers.BertConfig(num_attention_heads=2, num_hidden_layers=1, **sizes)
    transformers.BertForSequenceClassification(config).save_pretrained(folder)
    return folder


Change = Callable[[Path, Path], object]


def without_safetensors(folder: Path) -> dict[str, Any]:
    from safetensors.torch import load_file

    weights = folder / "model.safetensors"
    state: dict[str, Any] = load_file(weights)
    weights.unlink()
    return state


def pickled_entry(folder: Path, marker: Path) -> None:
    torch.save({**without_safetensors(folder), "evil": Evil(marker)}, folder / "pytorch_model.bin")


def bare_pickle(folder: Path, marker: Path) -> None:
    without_safetensors(folder)
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Evil(marker)))


def pickle_as_safetensors(folder: Path, marker: Path) -> None:
    (folder / "model.safetensors").write_bytes(pickle.dumps(Evil(marker)))


def code(folder: Path, marker: Path) -> None:
    (folder / "evil.py").write_text(f"open({str(marker)!r}, 'w')")
    places = {"AutoConfig": "evil.Config", "AutoModel": "evil.Model"}
    configure(folder, model_type="strange", auto_map=places)


def configure(folder: Path, **settings: Any) -> None:
    file = folder / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **settings}))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (pickled_entry, "its weights are a pickle of more than tensors"),
        (bare_pickle, "its weights are a pickle of more than tensors"),
        (pickle_as_safetensors, "header too large"),
        (code, "its model is code in the folder, which is not run"),
        (lambda folder, _: configure(folder, architectures=["pipeline"]), "has no model pipeline"),
        (lambda folder, _: configure(folder, vocab_size=-5), "vocab_size must be an integer of at least 2"),
        (lambda folder, _: configure(folder, hidden_size=10**12), "overflow"),
        (lambda folder, _: (folder / "config.json").write_text("[" * 100_000), "recursion"),
        (lambda folder, _: (folder / "config.json").write_text('{"a": ' + "1" * 4401 + "}"), "4300 digits"),
    ],
)
def test_a_hostile_hugging_face_folder_executes_nothing(
    bert: Path, tmp_path: Path, marker: Path, change: Change, told: str
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(bert, folder)
    change(folder, marker)
    with pytest.raises(StageError, match=told) as raised:
        find_workload(f"huggingface:{folder},length=8").model()
    assert "\n" not in str(raised.value) and not marker.exists()


def test_plain_weights_of_an_older_folder_are_read(bert: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(bert, folder)
    torch.save(without_safetensors(folder), folder / "pytorch_model.bin")
    assert find_workload(f"huggingface:{folder},length=8").model()(torch.ones(2, 8).long()).shape == (2, 2)


def onnx_file(path: Path, *, domain: str = "", outside: str = "", size: int = 4) -> Path:
    onnx = pytest.importorskip("onnx")
    helper, floats = onnx.helper, onnx.TensorProto.FLOAT
    weight = onnx.TensorProto(name="w", data_type=floats, dims=[size], raw_data=bytes(16))
    if outside:
        weight.ClearField("raw_data")
        weight.data_location = onnx.TensorProto.EXTERNAL
        weight.external_data.add(key="location", value=outside)
    ends = [helper.make_tensor_value_info(name, floats, ["n", size]) for name in ("x", "y")]
    node = helper.make_node("Add", ["x", "w"], ["y"], domain=domain)
    graph = helper.make_graph([node], "graph", ends[:1], ends[1:], [weight])
    imports = [helper.make_opsetid("", 17)] + ([helper.make_opsetid(domain, 1)] if domain else [])
    path.write_bytes(helper.make_model(graph, opset_imports=imports, ir_version=9).SerializeToString())
    return path


@pytest.mark.parametrize(
    ("traits", "told"),
    [
        ({"outside": "/etc/passwd"}, "keeps its weights in other files"),
        ({"outside": "../secret"}, "keeps its weights in other files"),
        ({"domain": "evil.library"}, "ONNX Runtime cannot load it"),
        ({"size": 2**40}, "ONNX Runtime cannot load it"),
    ],
)
def test_an_onnx_file_reads_no_other_file_and_loads_no_library(
    tmp_path: Path, traits: dict[str, Any], told: str
) -> None:
    with pytest.raises(StageError, match=told):
        find_workload(f"onnx:{onnx_file(tmp_path / 'model.onnx', **traits)}")


def test_a_pickle_that_poses_as_a_file_of_another_kind_executes_nothing(tmp_path: Path, marker: Path) -> None:
    for suffix in ("onnx", "pt2"):
        (tmp_path / f"evil.{suffix}").write_bytes(pickle.dumps(Evil(marker)))
    for workload in (f"onnx:{tmp_path}/evil.onnx", f"exported:{tmp_path}/evil.pt2"):
        outcome = run(("flops", workload, "--results", str(tmp_path / "results")))
        assert (outcome.code, outcome.uncaught, outcome.err.count("\n")) == (2, "", 1)
    outcome = run(("flops", f"{tmp_path}/evil.onnx", "--results", str(tmp_path / "results")))
    assert (outcome.code, outcome.uncaught, outcome.err.count("\n")) == (2, "", 1)
    assert not marker.exists()


def absurd_npy(path: Path, header: str) -> None:
    text = header.ljust(117) + "\n"
    path.write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode())


def test_samples_in_a_npy_file_are_neither_unpickled_nor_allocated_beyond_it(
    tmp_path: Path, marker: Path
) -> None:
    model = onnx_file(tmp_path / "model.onnx")
    np.save(tmp_path / "pickle.npy", np.array([Evil(marker)], dtype=object), allow_pickle=True)
    absurd_npy(tmp_path / "huge.npy", "{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000, 4)}")
    absurd_npy(tmp_path / "code.npy", f"open('{marker}', 'w')"[:110])
    for name in ("pickle", "huge", "code"):
        with pytest.raises(StageError, match=r"cannot be read as a \.npy file"):
            find_workload(f"onnx:{model},inputs={tmp_path / name}.npy")
    assert not marker.exists()


def png(width: int, height: int) -> bytes:
    def chunk(kind: bytes, content: bytes) -> bytes:
        return (
            struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        )

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n(marker) (w) file closefile\n%%EOF\n"


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (png(60_000, 60_000), "decompression bomb"),
        (EPS, "cannot identify"),
        (b"\x80\x04cos\nsystem\n.", "cannot identify"),
        (b"", "cannot identify"),
    ],
)
def test_an_image_is_neither_unpacked_without_bounds_nor_run(
    tmp_path: Path, content: bytes, told: str
) -> None:
    pytest.importorskip("PIL")
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "image.png").write_bytes(content)
    with pytest.raises(DataError, match=f"image.png: cannot be read as an image: .*{told}"):
        image_folder(tmp_path, size=8)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("deep.jsonl", "[" * 100_000),
        ("digits.jsonl", '{"text": ' + "1" * 4401 + ', "label": 1}'),
        ("list.jsonl", "[1, 2]"),
        ("nul.csv", "text,label\n\0,1\n"),
        ("huge.csv", f'text,label\n"{"x" * 200_000}\n'),
    ],
)
def test_a_hostile_table_is_one_line(tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(DataError, match=r"^[^\n]{1,400}$"):
        text_table(tmp_path / name, length=8)


def test_a_sparse_table_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "huge.csv").open("wb") as file:
        file.truncate(200 * 2**30)
    with pytest.raises(BenchError, match="200 GiB is more than the 32 GiB"):
        text_table(tmp_path / "huge.csv", length=8)
