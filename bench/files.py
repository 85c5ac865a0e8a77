"""Files: JSON that somebody else may have written is read with care, and a file is replaced whole."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any

MAX_BYTES = 2**24
MAX_NESTED = 32
"""How deeply JSON may be nested."""


def parse_json(text: str | bytes) -> Any:
    """Return the content of a JSON text; raises ValueError where it is none, or is nested too deeply."""
    try:
        content = json.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if isinstance(text, str):
        opened = text.count("{") + text.count("[")
    else:
        opened = text.count(b"{") + text.count(b"[")
    if opened > MAX_NESTED and _is_deeper(content, MAX_NESTED):
        raise ValueError("nested too deeply")
    return content


def read_json(path: Path, max_bytes: int = MAX_BYTES) -> Any:
    """Return the content of a JSON file; raises OSError, or ValueError where it is none or is larger."""
    # A pipe must not make us wait for whoever writes it.
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise ValueError("not a file")
        if status.st_size > max_bytes:
            raise ValueError(f"over {max_bytes:,} bytes")
        return parse_json(file.read(max_bytes))


def replace_file(path: Path, data: bytes | bytearray, *, sync: bool = True) -> None:
    """Write a file so that its name stands for the old content or all of the new, whatever happens.

    The new content is written next to it, synced to disk and renamed; without `sync` it need not outlive a
    crash of the machine. A link in its place is replaced, not followed; nothing is left behind where that
    fails. Raises OSError.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}")
    part.unlink(missing_ok=True)  # of a process of the same number that was killed
    try:
        with part.open("xb") as file:
            file.write(data)
            if sync:
                file.flush()
                os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _is_deeper(content: Any, most: int) -> bool:
    level = [content]
    for _ in range(most):
        level = [
            inner
            for outer in level
            if isinstance(outer, dict | list)
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
        if not level:
            return False
    return True
