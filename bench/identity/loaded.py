"""Digests of what the user's own workload loads: `python -m bench.identity.loaded SETTINGS.json`.

They reveal changes in what a library opens by itself, or a server sends, which no audit hook sees.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from bench.digests import OUR_PACKAGES
from bench.identity.discovered import OUTPUTS, Load, note_loaded, recorder
from bench.identity.first_outputs import first_outputs
from bench.workloads import WORKLOADS
from bench.workloads.content import content_path
from bench.workloads.input_files import input_files
from techniques.registry import split_reference

if TYPE_CHECKING:
    import torch

    from bench.workloads.workload import Data, Workload

_DEEPEST = 8

LONGEST_S = 900.0
"""Seconds that loading may take, as long as a person waits for a plan."""


def is_users(workload: str) -> bool:
    """Return whether the user's own code makes a workload."""
    technique = WORKLOADS.parse(workload)
    references = [technique.row.implementation, str(technique.settings.get("factory", ""))]
    places = [split_reference(reference)[0] for reference in references if ":" in reference]
    return any(place.partition(".")[0] not in OUR_PACKAGES for place in places)


def load_and_note(name: str, seed: int, test_samples: int | None) -> tuple[Workload, Data, torch.nn.Module]:
    """Return what a training begins with: workload, data, and the model as its seed makes it.

    Of a workload of the user's own their digests are noted.
    """
    import torch

    from bench.workloads.loading import load_workload

    workload, data = load_workload(name, test_samples)
    torch.manual_seed(seed)
    model = workload.model()
    _hear_content(name)
    if is_users(name):
        note_loaded(f"the data of {name}", lambda: digest_of(_entries(data)))
        note_loaded(f"the model of {name}", lambda: digest_of(_contents(model)))
        note_loaded(f"{OUTPUTS} {name}", lambda: first_outputs(workload, data, model))
    return workload, data, model


def _hear_content(workload: str) -> None:
    """Let the recorder know of a given model's files: its runtime opens them by itself."""
    at_work, path = recorder(), content_path(workload)
    if at_work is None or path is None:
        return
    for file in input_files(path):
        at_work.hear_named("r", file)
    if path.is_dir():
        at_work.hear_named("l", path)


def loader(results: Path, plugins: Iterable[str], say: Callable[[str], None]) -> Load:
    """Return a function that loads a workload in a process of its own and returns the digests.

    It returns none if loading fails: the stage is then made again and reports why.
    """

    def load(settings: Mapping[str, Any]) -> Mapping[str, str]:
        say(f"loading {settings['workload']}, to check whether it has changed")
        with TemporaryDirectory() as folder:
            request = Path(folder) / "settings.json"
            content = {"settings": dict(settings), "plugins": list(plugins), "results": str(results)}
            request.write_text(json.dumps(content))
            command = [sys.executable, "-m", "bench.identity.loaded", str(request)]
            try:
                ended = subprocess.run(
                    command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=LONGEST_S
                )
                found: dict[str, str] = json.loads(ended.stdout.rpartition("\n")[2] or "{}")
            except (subprocess.TimeoutExpired, ValueError):
                return {}
            return found

    return load


def main(arguments: list[str]) -> int:
    """Load the workload of the settings in a file and print the digests as one line of JSON."""
    from bench.identity.discovered import Recorder
    from bench.plugins import load_plugins

    request = json.loads(Path(arguments[0]).read_text())
    load_plugins(map(Path, request["plugins"]))
    with Recorder(Path(request["results"]), hears_files=False) as recorder:
        settings = request["settings"]
        load_and_note(settings["workload"], settings["seed"], settings["test_samples"])
    sys.stdout.write("\n" + json.dumps(recorder.loaded))
    return 0


def digest_of(entries: Iterable[tuple[str, Any]]) -> str:
    """Return a hash over named values: tensors by dtype, shape and content, others as JSON has them."""
    import torch

    digest = hashlib.sha256()
    for name, value in entries:
        digest.update(name.encode() + b"\0")
        if isinstance(value, torch.Tensor):
            digest.update(f"{value.dtype} {tuple(value.shape)}".encode() + _tensor_bytes(value))
        else:
            digest.update(json.dumps(value, sort_keys=True, default=_type_name).encode())
    return digest.hexdigest()


def _entries(data: Data) -> Iterator[tuple[str, Any]]:
    """Yield what data hold by name."""
    for name, value in vars(data).items():
        if dataclasses.is_dataclass(value):
            yield from ((f"{name}.{part}", inner) for part, inner in vars(value).items())
        else:
            yield name, value


def _contents(model: torch.nn.Module) -> Iterator[tuple[str, Any]]:
    """Yield what a model holds: its state, and buffers, tensors and numbers that are none of its state."""
    import torch

    state = model.state_dict()
    yield from state.items()
    yield from ((name, buffer) for name, buffer in model.named_buffers() if name not in state)
    of_any = vars(torch.nn.Module())
    for path, module in model.named_modules():
        for name, value in vars(module).items():
            if name not in of_any:
                yield from _plain(f"{path}.{name}", value)


def _plain(name: str, value: object, depth: int = 0) -> Iterator[tuple[str, Any]]:
    """Yield the tensors, arrays and numbers in an attribute; text may only tell of a place or a time."""
    import numpy as np
    import torch

    if isinstance(value, torch.Tensor):
        if not (value.is_meta or value.is_nested):
            yield name, value
    elif isinstance(value, np.ndarray):
        if value.dtype.kind in "biufc":
            yield name, [str(value.dtype), value.shape, hashlib.sha256(value.tobytes()).hexdigest()]
    elif isinstance(value, bool | int | float | complex | np.number):
        yield name, repr(value)
    elif isinstance(value, list | tuple | dict) and depth < _DEEPEST:
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, item in items:
            if isinstance(key, str | int):
                yield from _plain(f"{name}.{key}", item, depth + 1)


def _type_name(value: object) -> str:
    return type(value).__name__


def _tensor_bytes(tensor: torch.Tensor) -> bytes:
    """Return the content of a tensor of any layout and dtype."""
    import torch

    plain = tensor.detach().cpu()
    if plain.is_quantized:
        plain = plain.int_repr()
    # NumPy has no bf16.
    return plain.to_dense().contiguous().flatten().view(torch.uint8).numpy().tobytes()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
