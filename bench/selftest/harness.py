"""The overhead of the whole harness: `bench run` with live display against bare scripts of the same work.

Rounds are paired: a run that launches each timed stage once, then each stage's script; every second round
is in reverse order.
"""

from __future__ import annotations

import contextlib
import os
import pty
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from bench.analysis.disturbed import SLOWER, best_reference_s
from bench.analysis.statistics import Interval, paired_ratio_interval
from bench.execution.allocator import allocator_environment
from bench.execution.resources import find_resources
from bench.processes import output_of, refuse_bad_end
from bench.results.artifacts import artifact_folder
from bench.results.store import StageRow, Store
from bench.stages import STAGES

if TYPE_CHECKING:
    import pandas as pd

ROUNDS = 40
MATRIX = Path(__file__).parent / "pair.toml"
SERVED = {"cpu-eager": "weights.safetensors", "onnxruntime": "model.onnx", "openvino": "model.xml"}
"""The file in a backend's lowered folder that a bare script serves."""

BARE = (sys.executable, "-m", "bench.selftest.bare")


@dataclass(frozen=True)
class HarnessCost:
    """A call's time by the harness over that of a bare script: over pairs, with a 95 % interval.

    A pair of the `rounds` counts as `quiet` where the machine was at its fastest on both sides. Where none
    is quiet, all count.
    """

    what: str
    rounds: int
    quiet: int
    bare_s: float
    ratio: Interval


@dataclass(frozen=True)
class Timing:
    """Seconds of a call, and of the reference product next to it, and what disturbed it.

    `runtime_s` are those of a call by the runtime's own clock, where it has one.
    """

    call_s: float
    reference_s: float
    disturbed: str = ""
    runtime_s: float | None = None


_Timings = Mapping[str, Timing]


def measure_harness(results: Path, say: Callable[[str], None], rounds: int = ROUNDS) -> Iterator[HarnessCost]:
    """Yield the harness's cost on each timed stage of the matrix `pair`."""
    stages, _ = _launch(results)  # the first run trains and lowers: it is no pair's
    scripts = {label: script_of(stage, results) for label, stage in stages.items() if stage.timed}
    pairs: list[tuple[_Timings, _Timings]] = []
    for number in range(rounds):
        if number % 2:
            bare = _run_scripts(scripts)
            pairs.append((_launch(results)[1], bare))
        else:
            ours = _launch(results)[1]
            pairs.append((ours, _run_scripts(scripts)))
        say(f"round {number + 1} of {rounds}")
    for label in scripts:
        yield cost(label, [(ours[label], bare[label]) for ours, bare in pairs])


def cost(label: str, pairs: Sequence[tuple[Timing, Timing]]) -> HarnessCost:
    best_s = best_reference_s([timing.reference_s for pair in pairs for timing in pair])
    calm = [pair for pair in pairs if not any(_slow(timing, best_s) for timing in pair)]
    kept = calm or pairs
    ours, bare = [pair[0].call_s for pair in kept], [pair[1].call_s for pair in kept]
    return HarnessCost(label, len(pairs), len(calm), median(bare), paired_ratio_interval(ours, bare))


def _slow(timing: Timing, best_s: float) -> bool:
    return bool(timing.disturbed) or timing.reference_s > SLOWER * best_s


def run_matrix(results: Path, matrix: Path, filter_text: str = "") -> None:
    """Run a matrix as a user does, at a terminal."""
    command = [sys.executable, "-m", "bench", "run", "--matrix", str(matrix), "--fresh"]
    command += [*(["--filter", filter_text] if filter_text else []), "--results", str(results)]
    refuse_bad_end(command, _run_at_terminal(command))


def _launch(results: Path) -> tuple[dict[str, StageRow], _Timings]:
    """Run the matrix; return its stages and timings by label."""
    run_matrix(results, MATRIX)
    store = Store.open(results, create=False)
    run_id = store.find_run(None)
    stages = {stage.label: stage for stage in store.stages(run_id)}
    measured = store.measurements(run_id)
    store.close()
    timings = {
        label: _first_launch(measured[measured["stage_key"] == stage.key], STAGES.get(stage.kind).timed_by)
        for label, stage in stages.items()
        if stage.timed
    }
    return stages, timings


def _first_launch(measured: pd.DataFrame, metric: str) -> Timing:
    """Return a stage's first launch, though it was disturbed and made again: a bare script is made once."""
    first = measured[measured["launch_id"] == measured["launch_id"].min()].set_index("metric")
    told = str(first.loc[metric, "disturbed"])
    return Timing(float(first.loc[metric, "value"]), float(first.loc["reference_s", "value"]), told)


def _run_at_terminal(command: list[str]) -> int:
    """Run a command at a terminal of its own, whose screen nobody looks at; return its exit code."""
    screen, terminal = pty.openpty()

    def drain() -> None:
        with contextlib.suppress(OSError):  # how a terminal's end is told
            while os.read(screen, 65536):
                pass

    process = subprocess.Popen(command, stdin=terminal, stdout=terminal, stderr=terminal)
    os.close(terminal)
    reader = threading.Thread(target=drain)
    reader.start()
    code = process.wait()
    reader.join()
    os.close(screen)
    return code


def script_of(stage: StageRow, results: Path) -> list[str]:
    """Return the command of a timed stage's bare script; writes the batches that it is to serve."""
    threads = str(len(find_resources().cpus))
    if stage.kind == "step":
        return [*BARE, "step", threads]
    settings = stage.request.settings
    folder = artifact_folder(results, stage.request.parents["lowered"])
    return [
        *BARE,
        settings["backend"],
        threads,
        str(folder / SERVED[settings["backend"]]),
        str(_batches(settings, results)),
    ]


def _batches(settings: Mapping[str, Any], results: Path) -> Path:
    """Return a file of the batches that the harness serves in turn; it is made where it is not there."""
    path = results / f"batches-{settings['workload']}-{settings['batch_size']}.npy"
    if not path.exists():
        import numpy as np

        from bench.stages.inputs import rotating_batches
        from bench.workloads.loading import load_workload

        batches = rotating_batches(
            *load_workload(settings["workload"], settings["test_samples"]), settings["batch_size"]
        )
        np.save(path, np.stack([batch.numpy() for batch in batches]))
    return path


def run_script(words: Sequence[str]) -> Timing:
    """Run a bare script, with the allocator that workers have."""
    printed = output_of(words, {**os.environ, **allocator_environment("keep")})
    call_s, reference_s = map(float, printed.split())
    return Timing(call_s, reference_s)


def _run_scripts(scripts: Mapping[str, list[str]]) -> _Timings:
    return {label: run_script(words) for label, words in scripts.items()}


def harness_line(found: HarnessCost) -> str:
    """Return a line for a person."""
    ratio = found.ratio
    interval = f" ({ratio.low:.3f} to {ratio.high:.3f})" if ratio.low and ratio.high else ""
    counted = f"{ratio.n} of {found.rounds} pairs" + ("" if found.quiet else ", none of them quiet")
    half = f", half-width {100 * ratio.relative_half_width:.1f} %, {counted}"
    return f"{found.what:48} {1e3 * found.bare_s:8.3f} ms   harness / bare {ratio.value:.3f}{interval}{half}"
