"""A file of torch.export.save, read so that nothing in it is executed; `--trust FILE` loads it as it is.

`torch.export.load` unpickles, evaluates Python and loads compiled libraries that a file holds. Here the
archive's members must be those of one program, tensors must be plain bytes, the sample inputs are read by
PyTorch's restricted unpickler, and the program is checked (`exported_checks`) before it becomes a module.
"""

from __future__ import annotations

import io
import json
import logging
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from bench.errors import StageError
from bench.workloads.exported_checks import CouldRunCode, check_program
from bench.workloads.trust import is_trusted

_MAX_PROGRAM_BYTES = 2**28
_MAX_SAMPLE_BYTES = 2**33

_PROGRAM = "models/model.json"
_SAMPLES = "data/sample_inputs/model.pt"
_MEMBERS = re.compile(
    r"archive_format|archive_version|byteorder|version|\.format_version|\.storage_alignment|\.data/\w+"
    rf"|{re.escape(_PROGRAM)}|{re.escape(_SAMPLES)}|extra/.+"
    r"|data/weights/(?:weight_\d+|model_weights_config\.json)"
    r"|data/constants/(?:tensor_\d+|model_constants_config\.json)"
)
_PICKLES = re.compile(r"data/(?:weights|constants)/(?:.+\.pt|(?:custom|opaque)_obj_\d+)")
_LIBRARIES = re.compile(r"data/aotinductor/.*|.*\.(?:so|dll|dylib|pyd|ptx|cubin|o|a|cpp|py)")


def load_program(path: Path) -> torch.export.ExportedProgram:
    """Return the program in a file. Raises StageError where it could run code and is not trusted."""
    if is_trusted(path):
        return torch.export.load(path)
    return _guarded(path, _load)


def check_file(path: Path) -> None:
    """Raise StageError as `load_program` does, without reading the weights."""
    if not is_trusted(path):
        _guarded(path, _checked)


def _guarded(path: Path, read: Any) -> Any:
    logger = logging.getLogger("torch._export")
    before = logger.level
    try:
        logger.setLevel(logging.ERROR)
        return read(path)
    except CouldRunCode as error:
        raise StageError(
            f"{path}: refused, it holds {error}: that could run code; --trust {path} loads it anyway"
        ) from None
    except Exception as error:  # whatever reading a file raises that is no such archive
        lines = str(error).strip().splitlines() or [type(error).__name__]
        what = f"it lacks {lines[0]}" if isinstance(error, KeyError) else lines[0]
        raise StageError(f"{path}: is not a program that torch.export.save wrote: {what[:200]}") from None
    finally:
        logger.setLevel(before)


def _load(path: Path) -> torch.export.ExportedProgram:
    from torch._export.serde.serialize import ExportedProgramDeserializer
    from torch.export.pt2_archive._package import _load_constants, _load_state_dict

    archive, program, samples = _checked(path)
    # Both read plain bytes only: no entry that says it is pickled is left.
    weights, constants = _load_state_dict(archive, "model"), _load_constants(archive, "model")
    return ExportedProgramDeserializer().deserialize(program, weights, constants, samples)


def _checked(path: Path) -> tuple[Any, Any, Any]:
    """Return the open archive, its program and its sample inputs, all checked."""
    from torch._export.serde import schema
    from torch._export.serde.serialize import _bytes_to_dataclass
    from torch.export.pt2_archive._package import PT2ArchiveReader

    _refuse_other_formats(path)
    archive = PT2ArchiveReader(str(path))
    sizes = {name: archive.archive_file.get_record_size(name) for name in archive.get_file_names()}
    _check_members(sizes, path.stat().st_size)
    for folder, prefix in (("weights", "weight_"), ("constants", "tensor_")):
        _check_tensors(archive, sizes, folder, prefix)
    program = _bytes_to_dataclass(schema.ExportedProgram, archive.read_bytes(_PROGRAM))
    check_program(program)
    return archive, program, _read_samples(archive.read_bytes(_SAMPLES))


def _refuse_other_formats(path: Path) -> None:
    import zipfile

    with zipfile.ZipFile(path) as archive:
        names = set(archive.namelist())
    if "serialized_exported_program.json" in names:
        raise CouldRunCode(
            "pickled weights, as PyTorch before 2.8 wrote them (save it again with a newer one)"
        )


def _check_members(sizes: Mapping[str, int], file_bytes: int) -> None:
    for name in sizes:
        if _PICKLES.fullmatch(name):
            raise CouldRunCode(f"a pickle ({name[:80]!r})")
        if not _MEMBERS.fullmatch(name):
            library = _LIBRARIES.fullmatch(name) is not None
            raise CouldRunCode(f"{'a compiled library' if library else 'an unknown member'} ({name[:80]!r})")
    if sum(sizes.values()) > file_bytes:
        raise ValueError("its members are larger than the file: torch.export.save does not compress")
    if sizes.get(_PROGRAM, 0) > _MAX_PROGRAM_BYTES:
        raise ValueError(f"its program is over {_MAX_PROGRAM_BYTES:,} bytes")


def _check_tensors(archive: Any, sizes: Mapping[str, int], folder: str, prefix: str) -> None:
    """Check what the archive says of its weights or constants: plain bytes, as many as their shapes take."""
    from torch._export.serde.serialize import _SERIALIZE_TO_TORCH_DTYPE

    content = json.loads(archive.read_bytes(f"data/{folder}/model_{folder}_config.json"))
    for name, entry in content["config"].items():
        place = str(entry["path_name"])
        if entry["use_pickle"] or not place.startswith(prefix):
            raise CouldRunCode(
                f"a pickle for {name[:60]!r}, as tensors of other classes than torch.Tensor are"
            )
        meta = entry["tensor_meta"]
        dtype = _SERIALIZE_TO_TORCH_DTYPE[meta["dtype"]]
        elements = math.prod(int(size["as_int"]) for size in meta["sizes"])
        stored = sizes[f"data/{folder}/{place}"]
        if elements * dtype.itemsize > stored and 0 not in [size["as_int"] for size in meta["strides"]]:
            raise ValueError(f"{name[:60]!r} has {stored:,} bytes, too few for its shape")
        if not stored and elements:
            raise ValueError(f"{name[:60]!r} has no data")


def _read_samples(content: bytes) -> Any:
    """Return the sample inputs, as the restricted unpickler gives them: tensors, numbers and texts."""
    if not content:
        return None
    if not content.startswith(b"PK"):
        raise CouldRunCode("a pickle as its sample inputs")
    inner = torch._C.PyTorchFileReader(io.BytesIO(content))
    if sum(inner.get_record_size(name) for name in inner.get_all_records()) > len(content):
        raise ValueError("its sample inputs are compressed: torch.export.save does not")
    try:
        samples = torch.load(io.BytesIO(content), weights_only=True)
    except Exception:  # of many classes, by what is wrong
        raise CouldRunCode("a pickle of more than tensors as its sample inputs") from None
    if not isinstance(samples, tuple):
        raise ValueError("its sample inputs must be a tuple")
    tensors = torch.utils._pytree.tree_leaves(samples)
    if sum(tensor.nbytes for tensor in tensors if isinstance(tensor, torch.Tensor)) > _MAX_SAMPLE_BYTES:
        raise ValueError(f"its sample inputs have over {_MAX_SAMPLE_BYTES:,} bytes")
    return samples
