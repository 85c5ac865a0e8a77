"""The structure of runtimes' files, without the values of their weights."""

from __future__ import annotations

import hashlib
import json
import re
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

if TYPE_CHECKING:
    import onnx


def describe_files(folder: Path) -> Iterator[list[Any]]:
    """Yield the parts of each file below a folder whose format is known; of others only the suffix."""
    for path in sorted(entry for entry in folder.rglob("*") if entry.is_file()):
        name = path.relative_to(folder).as_posix()
        yield ["file", name if path.suffix in _FORMATS else path.suffix]
        yield from _FORMATS.get(path.suffix, _nothing)(path)


def _nothing(path: Path) -> Iterable[list[Any]]:
    return ()


def _json(path: Path) -> Iterator[list[Any]]:
    """Yield the edits that make a model of its factory's."""
    yield ["edits", json.loads(path.read_bytes())]


def _safetensors(path: Path) -> Iterator[list[Any]]:
    """Yield each tensor's name, type and shape."""
    with path.open("rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    for name, entry in sorted(header.items()):
        if name != "__metadata__":
            yield [name, entry["dtype"], entry["shape"]]


def _onnx(path: Path) -> Iterator[list[Any]]:
    """Yield each node with its settings and where its inputs come from, weights by type and shape."""
    import onnx

    model = onnx.load(str(path), load_external_data=False)
    for function in model.functions:
        yield ["function", function.domain, function.name]
        yield from _nodes(function.node, {})
    yield from _graph(model.graph)


def _graph(graph: onnx.GraphProto) -> Iterator[list[Any]]:
    # Weights that are equal may be kept once or twice: each is told where it is used, not where it is kept.
    weights = {weight.name: ["weight", weight.data_type, *weight.dims] for weight in graph.initializer}
    sparse = {entry.values.name: ["sparse weight", _sparse(entry)] for entry in graph.sparse_initializer}
    yield [*_types(graph.input, weights), "->", *_types(graph.output, weights)]
    yield from _nodes(graph.node, weights | sparse)


def _types(values: Iterable[onnx.ValueInfoProto], weights: dict[str, Any]) -> Iterator[Any]:
    for value in values:
        tensor = value.type.tensor_type
        if value.name not in weights:  # old files list weights as inputs too
            yield [tensor.elem_type, *(entry.dim_value for entry in tensor.shape.dim)]


def _nodes(nodes: Iterable[onnx.NodeProto], weights: dict[str, Any]) -> Iterator[list[Any]]:
    made: dict[str, Any] = {}
    for number, node in enumerate(nodes):
        inputs = [weights.get(name) or made.get(name) or bool(name) for name in node.input]
        if node.op_type == "Constant":
            described: Any = ["constant", *_settings(node)]
            made.update((name, described) for name in node.output)
            continue
        yield [node.domain, node.op_type, inputs, *_settings(node)]
        made.update((name, [number, place]) for place, name in enumerate(node.output))


def _settings(node: onnx.NodeProto) -> Iterator[Any]:
    for attribute in sorted(node.attribute, key=lambda entry: entry.name):
        tensors = [*([attribute.t] if attribute.HasField("t") else []), *attribute.tensors]
        yield [
            attribute.name,
            attribute.i,
            list(attribute.ints),
            attribute.s.decode(errors="replace"),
            [entry.decode(errors="replace") for entry in attribute.strings],
            len(attribute.floats),
            *([tensor.data_type, *tensor.dims] for tensor in tensors),
        ]
        graphs = [*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs]
        yield from (list(_graph(graph)) for graph in graphs)


def _sparse(entry: onnx.SparseTensorProto) -> str:
    return hashlib.sha256(entry.indices.SerializeToString()).hexdigest()


def _openvino(path: Path) -> Iterator[list[Any]]:
    """Yield each layer of an intermediate representation, and its edges."""
    root = ElementTree.parse(path).getroot()
    for layer in root.iterfind("./layers/layer"):
        settings = {
            key: value
            for data in layer.iterfind("data")
            for key, value in data.attrib.items()
            if key not in ("offset", "size")  # where a weight lies
        }
        ports = [
            [side, port.get("precision"), [dim.text for dim in port.iterfind("dim")]]
            for side in ("input", "output")
            for port in layer.iterfind(f"{side}/port")
        ]
        yield [layer.get("type"), layer.get("version"), settings, ports]
    for edge in root.iterfind("./edges/edge"):
        yield ["edge", *(edge.get(name) for name in ("from-layer", "from-port", "to-layer", "to-port"))]


# Comments, which have the commands and folders of one compilation; numbers, which may be learned, as scales
# are; names that hash the contents of others.
_NO_STRUCTURE = re.compile(rb"//[^\n]*|\b\d+(\.\d*)?(e[-+]?\d+)?[a-zA-Z]*|\b[a-z0-9]{40,}\b")


def _package(path: Path) -> Iterator[list[Any]]:
    """Yield a hash of each source file of a compiled package."""
    if not zipfile.is_zipfile(path):
        return
    with zipfile.ZipFile(path) as archive:
        names = [name for name in archive.namelist() if name.endswith((".cpp", ".cu"))]
        sources = [_NO_STRUCTURE.sub(b"", archive.read(name)).strip() for name in names]
    yield ["sources", *sorted(hashlib.sha256(source).hexdigest() for source in sources)]


_FORMATS = {".json": _json, ".safetensors": _safetensors, ".onnx": _onnx, ".xml": _openvino, ".pt2": _package}
