"""How long one answer takes beside a bare script: `python -m tests.performance.quick_answers [CASE ...]`.

Three cases: `bench.measure` of a perceptron on two runtimes, uncompressed and with its default compressions,
and an encoder of MiniLM's shape (Wang et al., 2020; random weights, 90 MB) by `bench run --matrix serve` on
one backend. Each command starts in a fresh process, the bench in an empty results folder, after the bare
script of the same run. A machine's ceilings hold for a day: the first call of a day measures them too. Each
case says whether its bars are met or missed: at most 20 s, and every latency within 5 %. The exit code is 1
where one is missed.
"""

from __future__ import annotations

import math
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

from bench.results.store import Store
from reports.frames import inference_table
from reports.frames.view import read

PERCEPTRON = """
import torch
torch.manual_seed(0)
model = torch.nn.Sequential(torch.nn.Linear(16, 32), torch.nn.ReLU(), torch.nn.Linear(32, 4)).eval()
inputs = torch.randn(64, 16)
"""

TIMED = """
import statistics, time
def timed(call):
    for _ in range(20):
        call()
    samples, end = [], time.perf_counter() + 1.2
    while time.perf_counter() < end:
        started = time.perf_counter()
        call()
        samples.append(time.perf_counter() - started)
    return statistics.median(samples)
"""

BARE_PERCEPTRON = f"""{PERCEPTRON}{TIMED}
import onnxruntime
torch.onnx.export(model, (inputs[:1],), "model.onnx", dynamo=True, verbose=False)
session = onnxruntime.InferenceSession("model.onnx")
feed = {{session.get_inputs()[0].name: inputs[:1].numpy()}}
with torch.inference_mode():
    print(timed(lambda: model(inputs[:1])), timed(lambda: session.run(None, feed)))
"""

BENCH_PERCEPTRON = """{perceptron}
import bench
table = bench.measure(model, inputs, backends=["cpu-eager", "onnxruntime"]{more})
print(table[["backend", "compression", "latency_s", "latency_low_s", "latency_high_s", "state"]].to_string())
"""
UNCOMPRESSED = BENCH_PERCEPTRON.format(perceptron=PERCEPTRON, more=', compressions=["none"]')
COMPRESSED = BENCH_PERCEPTRON.format(perceptron=PERCEPTRON, more="")

MINILM = """
import torch
from transformers import BertConfig, BertModel
torch.manual_seed(0)
size = dict(hidden_size=384, num_hidden_layers=6, num_attention_heads=12, intermediate_size=1536)
BertModel(BertConfig(**size)).save_pretrained("encoder")
"""

BARE_MINILM = f"""{TIMED}
import torch
from transformers import AutoModel
model = AutoModel.from_pretrained("encoder").eval()
tokens = torch.randint(0, 30522, (1, 64), generator=torch.Generator().manual_seed(0))
with torch.inference_mode():
    print(timed(lambda: model(tokens)))
"""

SERVE = ("run", "--matrix", "serve", "--workload", "huggingface:encoder")
ONE_CELL = ("--filter", "backend=cpu-eager,compression=none,precision=fp32,batch_size=1")

CASES = {
    "perceptron": ("", BARE_PERCEPTRON, [sys.executable, "-c", UNCOMPRESSED]),
    "perceptron-compressed": ("", BARE_PERCEPTRON, [sys.executable, "-c", COMPRESSED]),
    "minilm": (MINILM, BARE_MINILM, [sys.executable, "-m", "bench", *SERVE, *ONE_CELL]),
}

MAX_S, MAX_HALF_WIDTH = 20.0, 0.05


def main(names: list[str]) -> bool:
    """Print, for each case, seconds, their ratio and the widest interval; return if all bars are met."""
    met = True
    for name in names or CASES:
        prepared, bare, command = CASES[name]
        with tempfile.TemporaryDirectory() as folder:
            if prepared:
                _seconds([sys.executable, "-c", prepared], folder)
            bare_s, _ = _seconds([sys.executable, "-c", bare], folder)
            bench_s, said = _seconds(command, folder)
            widest, missing = _widest(Path(folder, "results"))
        print(said)
        print(f"{name}: bare script {bare_s:.1f} s, bench {bench_s:.1f} s, ratio {bench_s / bare_s:.1f}")
        in_time, narrow = bench_s <= MAX_S, widest <= MAX_HALF_WIDTH and not missing
        print(f"  {_verdict(in_time)}: {MAX_S:g} s")
        print(
            f"  {_verdict(narrow)}: ±{MAX_HALF_WIDTH:.0%}; the widest is ±{widest:.1%}, {missing} without one"
        )
        met = met and in_time and narrow
    return met


def _widest(results: Path) -> tuple[float, int]:
    """Return the largest half-width of a latency's interval as a share of it, and how many cells have none.

    Cells that a backend has no kernel for do not count; those that had no room in the budget do.
    """
    with closing(Store.open(results, create=False)) as store:
        view = read(store, store.find_run(None))
        table = inference_table(view)
    table = table[table["cell"].isin([cell.name for cell in view.cells if not cell.skipped])]
    known = table.dropna(subset=["latency_s", "latency_low_s", "latency_high_s"])
    widths = (known["latency_high_s"] - known["latency_low_s"]) / (2 * known["latency_s"])
    return float(widths.max()) if len(known) else math.inf, len(table) - len(known)


def _verdict(met: bool) -> str:
    return "met" if met else "missed"


def _seconds(command: list[str], folder: str) -> tuple[float, str]:
    started = time.perf_counter()
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    seconds = time.perf_counter() - started
    if done.returncode:
        sys.exit(done.stdout + done.stderr)
    Path(folder, "said.txt").write_text(done.stderr)
    return seconds, done.stdout


if __name__ == "__main__":
    sys.exit(0 if main(sys.argv[1:]) else 1)
