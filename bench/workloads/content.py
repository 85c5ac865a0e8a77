"""The path of a model that is served as given."""

from __future__ import annotations

from pathlib import Path

from bench.workloads import EXPORTED, WORKLOADS
from techniques.registry import TechniqueError, split_reference


def content_path(workload: str) -> Path | None:
    """Return the file or folder of the model that a workload names by a path, None for any other."""
    technique = WORKLOADS.parse(workload)
    if not technique.row.content:
        return None
    place = str(technique.settings[technique.row.content])
    place = place.rpartition(":")[0] if ".py:" in place else place
    path = Path(place).expanduser()
    return path if path.exists() else None


def check_content(workload: str) -> None:
    """Raise TechniqueError where a workload names no reference, or a file for a folder or the reverse.

    A path that does not exist is reported by its stage, because an id of the hub is not a path either.
    """
    technique = WORKLOADS.parse(workload)
    if technique.name == "module":
        _check_reference(str(technique.settings["factory"]))
    path = content_path(workload)
    if path is None:
        return
    if (technique.name == EXPORTED or technique.row.is_onnx) and not path.is_file():
        raise TechniqueError(f"{path} is not a file" + (", but a folder" if path.is_dir() else ""))
    if technique.name == "huggingface" and not path.is_dir():
        raise TechniqueError(f"{path} is not a folder; give the one that save_pretrained wrote, or an id")


def _check_reference(reference: str) -> None:
    place, attribute = split_reference(reference)
    is_module = all(part.isidentifier() for part in place.split("."))
    if not attribute.isidentifier() or not (is_module or (place.endswith(".py") and ".py:" not in place)):
        raise TechniqueError(f"{reference!r} must be package.module:name or file.py:name")
