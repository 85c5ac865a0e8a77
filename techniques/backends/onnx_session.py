"""How an ONNX file is opened in ONNX Runtime, wherever that is done: the same provider and threads."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def open_session(model: Path, threads: int, **options: Any) -> Any:
    """Return an inference session on the CPU; `options` are attributes of `SessionOptions`."""
    import onnxruntime

    chosen = onnxruntime.SessionOptions()
    chosen.intra_op_num_threads = threads
    chosen.inter_op_num_threads = 1
    for name, value in options.items():
        setattr(chosen, name, value)
    return onnxruntime.InferenceSession(str(model), chosen, providers=["CPUExecutionProvider"])
