"""Plans a large matrix and prints what that takes: `python -m tests.performance.large_plan 1000000`.

The matrix has 8,000 cells for each seed, most with a lowering and an evaluation of their own: no cell can ask
more of a plan.
"""

from __future__ import annotations

import resource
import sys
import tempfile
import time
from pathlib import Path

from bench.matrix.reading import read_matrix
from bench.plan.planner import make_plan

CELLS_OF_A_SEED = 8_000

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


def main(cells: int) -> None:
    """Print seconds (elapsed, and of the processor), stages and peak memory of a plan of so many cells."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "large.toml")
        path.write_text(_MATRIX.format(seeds=list(range(-(-cells // CELLS_OF_A_SEED)))))
        began_s, processor_s = time.perf_counter(), time.process_time()
        plan = make_plan(read_matrix(str(path)), cpus=2)
        elapsed_s, used_s = time.perf_counter() - began_s, time.process_time() - processor_s
    peak_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(
        f"{len(plan.cells):,} cells, {len(plan.skipped):,} of them skipped, {len(plan.stages):,} stages: "
        f"{elapsed_s:.1f} s, {used_s:.1f} s of them the processor's, {peak_bytes / 1e9:.2f} GB at the peak"
    )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000)
