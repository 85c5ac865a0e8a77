"""Plans a large matrix and prints what that takes: `python -m tests.performance.large_plan 1000000`.

The matrix has 8,000 cells for each seed, most with a lowering and an evaluation of their own: no cell can ask
more of a plan. The dry run of `full` is a command of its own, started anew. Each bar is said to be met or
missed, that of the plan if it has a million cells; the exit code is 1 where one is missed.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench.matrix.reading import read_matrix
from bench.plan.planner import make_plan

CELLS_OF_A_SEED = 8_000
MILLION = 1_000_000

_MATRIX = """
[train]
workload = ["digits", "diabetes-mlp", "breast-cancer-mlp", "fashion-mnist-simplecnn"]
optimizer = ["sgd", "adam", "rmsprop", "momentum", "adamw"]
seed = {seeds}
[infer]
compression = ["none", "finetune", "prune-mean:1", "int8-dynamic", "int8-static"]
backend = ["cpu-eager", "cpu-inductor", "onnxruntime", "openvino"]
batch_size = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512]
precision = ["fp32", "bf16"]
"""


MAX_PLAN_S, MAX_PLAN_BYTES, MAX_DRY_RUN_S = 60.0, 2e9, 3.0


def main(cells: int) -> bool:
    """Print seconds (elapsed, and of the processor), stages and peak memory; return if no bar is missed."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "large.toml")
        path.write_text(_MATRIX.format(seeds=list(range(-(-cells // CELLS_OF_A_SEED)))))
        began_s, processor_s = time.perf_counter(), time.process_time()
        plan = make_plan(read_matrix(str(path)), cpus=2)
        elapsed_s, used_s = time.perf_counter() - began_s, time.process_time() - processor_s
        peak_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        dry_s = _dry_run_s(Path(folder, "none"))
    print(
        f"{len(plan.cells):,} cells, {len(plan.skipped):,} of them skipped, {len(plan.stages):,} stages: "
        f"{elapsed_s:.1f} s, {used_s:.1f} s of them the processor's, {peak_bytes / 1e9:.2f} GB at the peak"
    )
    bars = [(dry_s <= MAX_DRY_RUN_S, f"dry run of full in {dry_s:.1f} s, at most {MAX_DRY_RUN_S:g} s")]
    if cells >= MILLION:
        bars.append((elapsed_s <= MAX_PLAN_S, f"plan in {elapsed_s:.1f} s, at most {MAX_PLAN_S:g} s"))
        size = f"{peak_bytes / 1e9:.2f} GB, at most {MAX_PLAN_BYTES / 1e9:g} GB"
        bars.append((peak_bytes <= MAX_PLAN_BYTES, size))
    for met, what in bars:
        print(f"{'met' if met else 'missed'}: {what}")
    return all(met for met, _ in bars)


def _dry_run_s(results: Path) -> float:
    command = [
        sys.executable,
        "-m",
        "bench",
        "run",
        "--matrix",
        "full",
        "--dry-run",
        "--results",
        str(results),
    ]
    began_s = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - began_s


if __name__ == "__main__":
    sys.exit(0 if main(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000) else 1)
