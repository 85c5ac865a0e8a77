"""A pickle in place of a runtime's own file is no file of that runtime, and executes nothing."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest
import torch

from techniques.backends import BACKENDS
from techniques.backends.protocol import Numerics


class Evil:
    """What leaves a file where it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return open, (str(self.marker), "w")


@pytest.mark.parametrize(
    ("name", "files"),
    [
        ("cpu-eager", ["weights.safetensors"]),
        ("onnxruntime", ["model.onnx"]),
        ("openvino", ["model.xml", "model.bin"]),
        ("executorch", ["model.pte"]),
    ],
)
def test_a_pickle_is_not_loaded_by(name: str, files: list[str], tmp_path: Path) -> None:
    backend = BACKENDS.parse(name)
    if backend.row.unavailable():
        pytest.skip(str(backend.row.unavailable()))
    for file in files:
        (tmp_path / file).write_bytes(pickle.dumps(Evil(tmp_path / "marker")))
    with pytest.raises(Exception):  # noqa: B017 - each runtime has its own
        backend.create().load(tmp_path, lambda: torch.nn.Linear(6, 3), Numerics(None, "fp32"), 1)
    assert not (tmp_path / "marker").exists()
