"""Times of generated text beside those of the engine's own clock: `python -m tests.performance.engine_times`.

An untrained decoder of `shakespeare-llama`, or of the workload named, is continued in several launches. Each
prints our times to the first token and per output token beside the engine's own of the same batches: medians
over batches, and the difference of each batch's two times, as a share of ours. A difference over 2 % is to be
explained by a definition. An engine without a clock of its own has ours alone.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median

import torch

from bench.formatting import format_value, print_table, say
from bench.instruments.generation import Generated, time_generation
from bench.workloads.loading import example_batch, load_workload
from techniques.backends import BACKENDS
from techniques.backends.protocol import Numerics
from techniques.backends.text_engine import EngineOptions, ServesTexts

ENGINES = ("openvino-genai", "onnxruntime-genai", "vllm")
LAUNCHES, BATCHES = 3, 12
TEXTS, PROMPT, NEW = (1, 8), 64, 64
NEAR = 0.02

Row = tuple[str, ...]


def differences(ours: Sequence[float], own: Sequence[float]) -> tuple[float, float, float]:
    """Return the median, the least and the largest of (ours - own) / ours of each batch."""
    found = [(one - other) / one for one, other in zip(ours, own, strict=True)]
    return median(found), min(found), max(found)


def rows(name: str, texts: int, generated: Generated) -> Iterator[Row]:
    """Yield a row for the first token and one for each token after it."""
    firsts = [each.first_s for each in generated.own]
    tokens = [each.per_token_s for each in generated.own if each.per_token_s is not None]
    for what, ours, own in (
        ("first token", generated.first_s, firsts),
        ("per output token", generated.per_token_s, tokens),
    ):
        shown = format_value("latency_s", median(ours))
        if not own:
            yield name, str(texts), what, shown, "no clock of its own", "", ""
            continue
        middle, low, high = differences(ours, own)
        verdict = "within 2 %" if abs(middle) <= NEAR else "over 2 %"
        apart = f"{100 * middle:+.2f} % ({100 * low:+.2f} to {100 * high:+.2f})"
        yield name, str(texts), what, shown, format_value("latency_s", median(own)), apart, verdict


def measured(name: str, workload_name: str) -> list[Row]:
    """Lower an untrained model for an engine, and continue texts with it in this process."""
    workload, data = load_workload(workload_name)
    torch.manual_seed(0)
    model, numerics = workload.model().eval(), Numerics(None, "fp32")
    backend = BACKENDS.parse(name).create()
    assert isinstance(backend, ServesTexts)
    found: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        backend.lower(model, example_batch(workload, data, 1), numerics, (), Path(folder))
        options = EngineOptions(most_texts=max(TEXTS), most_tokens=data.test_inputs.shape[1] + 1)
        engine = backend.text_engine(Path(folder), numerics, torch.get_num_threads(), options)
        for texts in TEXTS:
            prompts = [example_batch(workload, data, texts, number)[:, :PROMPT] for number in range(BATCHES)]
            found += rows(name, texts, time_generation(engine, prompts, NEW))
    return found


def main() -> None:
    """Measure each engine that is installed in several launches, each a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("workload", nargs="?", default="shakespeare-llama")
    parser.add_argument("--launch", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.launch:
        headings = ("engine", "texts", "what", "ours", "the engine's own", "difference", "")
        print_table(chosen.launch, measured(chosen.launch, chosen.workload), headings)
        return
    for name in ENGINES:
        if why := BACKENDS.get(name).unavailable():
            say(f"{name}: {why}")
            continue
        for _ in range(LAUNCHES):
            command = [sys.executable, "-m", "tests.performance.engine_times", chosen.workload]
            subprocess.run([*command, "--launch", name], check=True, env=os.environ)


if __name__ == "__main__":
    main()
