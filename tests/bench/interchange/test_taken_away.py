"""A cell's model, exported: it gives the same outputs in a process that knows nothing of this suite."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.errors import BenchError
from bench.interchange.model_card import proportion
from bench.interchange.taken_away import take_away
from bench.results.store import Store
from tests.support.synthetic_run import Synthetic, build

NEEDS = {"openvino": ("openvino", "nncf"), "executorch": ("executorch",)}
BACKENDS = [
    name
    for name in ("cpu-eager", "cpu-inductor", "onnxruntime", "openvino", "executorch")
    if all(importlib.util.find_spec(module) for module in NEEDS.get(name, ()))
]
pytestmark = pytest.mark.slow  # a run on every runtime

FILES = {
    "cpu-eager": {"model.py", "weights.safetensors"},
    "cpu-inductor": {"model.pt2"},
    "onnxruntime": {"model.onnx"},
    "openvino": {"model.xml", "model.bin"},
    "executorch": {"model.pte"},
}
FORMATS = {"cpu-eager": "int8-dynamic"}
MATRIX = """
[train]
workload = "digits"
optimizer = "adam"
[infer]
compression = ["none", "int8-static", "int8-dynamic", "prune-channels:0.5+int8-static"]
backend = {backends}
batch_size = 2
[[exclude]]
compression = ["none", "int8-static", "prune-channels:0.5+int8-static"]
backend = "cpu-eager"
[[exclude]]
compression = "int8-dynamic"
backend = ["cpu-inductor", "onnxruntime", "openvino", "executorch"]
"""

# Runs the script, then says which modules of the suite it imported and what it gave.
ALONE = """
import json, runpy, sys
import numpy as np
found = runpy.run_path(sys.argv[1])
suite = [name for name in sys.modules if name.split(".")[0] in ("bench", "techniques", "reports")]
np.savez(sys.argv[2], *found["outputs"])
print(json.dumps(suite))
"""


@pytest.fixture(scope="module")
def results(bench: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A smoke run of digits on every runtime that is installed."""
    folder = tmp_path_factory.mktemp("exported")
    backends = json.dumps(BACKENDS)
    (folder / "each.toml").write_text(MATRIX.replace("{backends}", backends))
    words = ("run", "--matrix", folder / "each.toml", "--smoke", "--results", folder / "results")
    done = bench(*words)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "results"


def cell_of(backend: str, compression: str) -> str:
    return f"digits/adam/{compression}@{backend}"


def run_alone(script: Path, elsewhere: Path) -> tuple[list[str], list[np.ndarray]]:
    """Run a script in an isolated process in another folder; return the suite's modules, and the outputs."""
    elsewhere.mkdir(exist_ok=True)
    outputs = elsewhere / "found.npz"
    words = [sys.executable, "-I", "-c", ALONE, str(script), str(outputs)]
    done = subprocess.run(words, cwd=elsewhere, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = np.load(outputs)
    return json.loads(done.stdout.splitlines()[-1]), [found[name] for name in found.files]


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_same_outputs_in_a_fresh_process_without_the_suite(
    bench: Any, results: Path, backend: str, tmp_path: Path
) -> None:
    cell, to = cell_of(backend, FORMATS.get(backend, "int8-static")), tmp_path / "taken"
    done = bench("export", cell, "--to", to, "--results", results)
    assert done.returncode == 0, done.stderr
    assert "run in a fresh process: the same outputs" in done.stdout
    common = {"run.py", "README.md", "input.npy", "raw.npy", "outputs.npz"}
    assert {path.name for path in to.iterdir()} == FILES[backend] | common
    moved = to.rename(tmp_path / "moved elsewhere")
    suite, found = run_alone(moved / "run.py", tmp_path / "other")
    assert not suite
    expected = np.load(moved / "outputs.npz")
    assert len(found) == len(expected.files)
    for own, name in zip(found, expected.files, strict=True):
        np.testing.assert_allclose(own, expected[name], rtol=0, atol=1e-5 * np.abs(expected[name]).max())
    assert found[0].shape == (2, 10) and np.load(moved / "raw.npy").shape == (2, 8, 8)


def test_the_card_tells_how_to_run_it_what_it_takes_and_its_record(
    bench: Any, results: Path, tmp_path: Path
) -> None:
    to = tmp_path / "card"
    done = bench(
        "export", cell_of("onnxruntime", "prune-channels:0.5+int8-static"), "--to", to, "--results", results
    )
    assert done.returncode == 0, done.stderr
    card = (to / "README.md").read_text()
    assert card.startswith("# digits: prune-channels:0.5+int8-static, for onnxruntime")
    for said in (
        *("pip install numpy onnxruntime", "python run.py", "Shape (2, 3, 8, 8), float32"),
        *("subtract 4.88, divide by 6.02", "Labels by number: 0 0, 1 1", "95 %, Wilson"),
        *(
            "latency of a batch of 2",
            "1. `prune-channels:0.5`: Remove this share",
            "2. `int8-static`: Format",
        ),
        *("python -m bench run --matrix", "--rebuild", "tolerance"),
    ):
        assert said in card, said
    script = (to / "run.py").read_text()
    assert len([line for line in script.splitlines() if line.strip()]) <= 20


def test_mistakes_are_one_line(bench: Any, results: Path, tmp_path: Path) -> None:
    full = tmp_path / "full"
    full.mkdir()
    (full / "mine.txt").write_text("kept")
    cell = cell_of("onnxruntime", "none")
    for words, said in (
        ((cell, "--to", full), "must be a new or an empty folder"),
        ((cell,), "--to FOLDER"),
        ((cell, "--to", tmp_path / "x", "--format", "pytest-benchmark"), "without --format"),
        (("digits/adam/nonee@onnxruntime", "--to", tmp_path / "x"), "has no cell"),
    ):
        done = bench("export", *words, "--results", results)
        assert done.returncode == 2 and said in done.stderr and len(done.stderr.splitlines()) == 1
    assert (full / "mine.txt").read_text() == "kept" and not (tmp_path / "x").exists()


def test_a_skipped_cell_and_one_without_an_artifact_say_why(tmp_path: Path) -> None:
    made_up = Synthetic(optimizers=("adam",))
    store = build(tmp_path / "results", made_up)
    with pytest.raises(BenchError, match="serves nothing: cpu-eager has no kernel for int8-static"):
        take_away(store, "run-1", cell_of("cpu-eager", "int8-static"), store.results, tmp_path / "to", "")
    with pytest.raises(BenchError, match="its artifact is not in"):
        take_away(store, "run-1", cell_of("onnxruntime", "none"), store.results, tmp_path / "to", "")
    store.close()
    assert isinstance(store, Store) and not (tmp_path / "to").exists()


def test_the_interval_of_a_share_is_wilson_s() -> None:
    # Wilson (1927) for 90 of 100: 0.8256 to 0.9448.
    low, high = proportion(0.9, 100) or (0, 0)
    assert (low, high) == (pytest.approx(0.8256, abs=1e-4), pytest.approx(0.9448, abs=1e-4))
    assert proportion(None, 10) is None and proportion(0.5, 0) is None and proportion(-0.2, 10) is None
