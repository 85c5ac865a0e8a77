"""Finds the artifacts that can be reused: those whose inputs are unchanged.

A stage's key covers what is known in advance. The inputs that its work discovered (see
`bench.identity.discovered`) are in the artifact's record and checked here. If all are unchanged, the stage
takes the artifact's key. Otherwise it gets a new key with the same beginning, and a reason that names what
changed. The direct mode of ccache works the same way: a manifest of includes for each static hash.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from bench.digests import file_digest, signature, versions_of_distributions
from bench.files import read_json
from bench.formatting import one_line
from bench.identity.discovered import NOT_THERE, OUTPUTS, File, Inputs, Load, folder_digest
from bench.identity.first_outputs import same_outputs
from bench.identity.imports import Listings, first_moved, found_now
from bench.results.artifacts import RECORD, artifact_folder, artifact_folders
from bench.results.store import StageRow

ALIKE = 32
"""Hexadecimal digits by which the keys of one stage with different inputs begin."""

_INPUTS = TypeAdapter(Inputs)


@dataclass
class Reuse:
    """Finds the keys of stages from recorded inputs; `load` is called last, since it takes seconds.

    `bring` is called with the beginning of a key, and brings the artifacts that are kept elsewhere.
    """

    results: Path
    load: Load = lambda settings: {}
    bring: Callable[[str], Iterable[Path]] = lambda beginning: ()
    again: dict[str, str] = field(default_factory=dict)
    _keys: dict[str, str] = field(default_factory=dict)
    _loaded: dict[str, Mapping[str, str]] = field(default_factory=dict)
    _listings: Listings = field(default_factory=Listings)
    _alike: defaultdict[str, list[Path]] | None = None

    def key(self, base: str, settings: Mapping[str, Any]) -> str:
        """Return the key of a stage whose key from what is known in advance is `base`.

        If the stage was made before and is made again, `again` has the reason by key.
        """
        if base not in self._keys:
            self._keys[base] = self._find(base, settings)
        return self._keys[base]

    def _find(self, base: str, settings: Mapping[str, Any]) -> str:
        state, reason = hashlib.sha256(), ""
        for key, inputs in self._made_before(base):
            now, changed = _now(inputs, self._listings), _difference(inputs, self._listings)
            if not changed and inputs.loaded:
                loaded = self._load(settings)
                now["loaded"] = {
                    what: _loaded_now(what, found, loaded) for what, found in inputs.loaded.items()
                }
                changed = _first_other(inputs.loaded, now["loaded"])
            if not changed:
                return key
            state.update(json.dumps(now, sort_keys=True).encode())
            reason = one_line(f"{changed} changed")
        if not reason:
            return base
        variant = base[:ALIKE] + state.hexdigest()[: len(base) - ALIKE]
        self.again[variant] = reason
        return variant

    def _made_before(self, base: str) -> Iterator[tuple[str, Inputs]]:
        """Yield key and inputs of each artifact made by what is known beforehand, the latest last."""
        if self._alike is None:
            self._alike = defaultdict(list)
            for place in artifact_folders(self.results):
                self._alike[place.name[:ALIKE]].append(place)
        here = self._alike[base[:ALIKE]]
        here += [place for place in self.bring(base[:ALIKE]) if place not in here]
        for place in sorted(here, key=lambda place: place.stat().st_mtime_ns):
            inputs = read_inputs(place)
            if inputs is not None:
                yield place.name, inputs

    def _load(self, settings: Mapping[str, Any]) -> Mapping[str, str]:
        wanted = json.dumps([settings.get("workload"), settings.get("seed"), settings.get("test_samples")])
        if wanted not in self._loaded:
            self._loaded[wanted] = self.load(settings)
        return self._loaded[wanted]


class Unchanged:
    """Checks that the inputs of a run's stages stay the same from its first stage to its last."""

    def __init__(self, results: Path) -> None:
        self._results = results
        self._seen: dict[str, str] = {}

    def objection(self, stage: StageRow, modules: Mapping[str, str]) -> str:
        """Return which input of an ended stage differs from that of earlier stages; empty if none does."""
        inputs = read_inputs(artifact_folder(self._results, stage.key))
        files = {path: file.digest for path, file in inputs.files.items()} if inputs else {}
        for path, digest in {**files, **modules}.items():
            if self._seen.setdefault(path, digest) != digest:
                return f"{path} changed since the run began; start the run again"
        return ""


def read_inputs(folder: Path) -> Inputs | None:
    """Return the inputs of an artifact, None if its record has none."""
    try:
        return _INPUTS.validate_python(read_json(folder / RECORD)["inputs"])
    except (OSError, ValueError, KeyError, TypeError, ValidationError):
        return None


def inputs_to_json(inputs: Inputs) -> dict[str, Any]:
    """Return the inputs as plain data, as a record keeps them."""
    found: dict[str, Any] = _INPUTS.dump_python(inputs, mode="json")
    return found


def what_changed(files: Mapping[str, str]) -> str:
    """Return the first of these files, digests by path, that has changed; empty if none has."""
    return next((path for path, digest in files.items() if _digest_now(path, File(digest)) != digest), "")


def _difference(inputs: Inputs, listings: Listings) -> str:
    """Return which input has changed since an artifact was made; empty if none has."""
    for path, file in inputs.files.items():
        if _digest_now(path, file) != file.digest:
            return path
    for path, digest in inputs.folders.items():
        if folder_digest(Path(path)) != digest:
            return f"the content of folder {path}"
    if moved := first_moved(inputs.imports, listings):
        return f"the import path of {moved}"
    versions = versions_of_distributions(inputs.packages)
    other = _first_other(inputs.packages, versions)
    return f"{other}'s version" if other else ""


def _first_other(before: Mapping[str, str], now: Mapping[str, str]) -> str:
    return next((name for name, value in before.items() if now[name] != value), "")


def _loaded_now(what: str, before: str, now: Mapping[str, str]) -> str:
    """Return the digest of what is loaded now; of other outputs a word that no noise is in."""
    found = now.get(what, NOT_THERE)
    if what.startswith(OUTPUTS):
        return before if same_outputs(before, found) else "others"
    return found


def _now(inputs: Inputs, listings: Listings) -> dict[str, Any]:
    return {
        "files": {path: _digest_now(path, file) for path, file in inputs.files.items()},
        "folders": {path: folder_digest(Path(path)) for path in inputs.folders},
        "packages": versions_of_distributions(inputs.packages),
        "imports": found_now(inputs.imports, listings),
    }


def _digest_now(path: str, file: File) -> str:
    """Return a file's digest; one that has not been written since it was read is not read again."""
    place = Path(path)
    try:
        if file.signature is not None and signature(place) == tuple(file.signature):
            return file.digest
        return file_digest(place)
    except (OSError, ValueError):  # ValueError of a path that no system has
        return NOT_THERE
