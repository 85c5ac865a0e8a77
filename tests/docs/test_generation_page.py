"""The page of the matrix `generation` says what its run measured of each engine."""

from __future__ import annotations

from contextlib import closing
from datetime import date
from pathlib import Path

import pandas as pd

from docs.results import generation
from docs.results.measured import Measured
from reports.frames.generation import generation_table
from reports.frames.view import read
from tests.support.synthetic_run import Synthetic, build


def of_generation(**own: object) -> dict[str, object]:
    known = {
        **{"workload": "shakespeare-llama", "compressions": "none", "backend": "cpu-eager", "draft": ""},
        **{"precision": "fp32", "cache": "own", "prompt_tokens": 128, "new_tokens": 64, "state": "ok"},
        **{"reason": "", "ttft_s": 0.004, "ttft_low_s": 0.003, "ttft_high_s": 0.005, "tpot_s": 0.002},
        **{"tokens_per_s": 400.0, "generation_kl": 0.0, "generation_agreement": 1.0, "generation_nats": 3.5},
        **{"cache_bytes_per_token": 1024.0, "stage_key": "k", "concurrency": 1},
    }
    return {**known, **own}


def test_the_page_of_generation_names_the_fastest_engine_alone_and_together_and_what_was_not_measured(
    tmp_path: Path,
):
    own = {"backend": "openvino-genai", "tpot_s": 0.001, "engine_ttft_s": 0.0038, "engine_tpot_s": 0.00099}
    rows = [
        of_generation(),
        of_generation(concurrency=8, tokens_per_s=900.0, tpot_s=0.008),
        of_generation(**own),
        of_generation(**own, concurrency=8, tokens_per_s=500.0),
        of_generation(**own, prompt_tokens=32, ttft_s=0.0002),
        of_generation(backend="openvino-genai", cache="int8", generation_kl=0.0123),
        of_generation(backend="vllm", state="skipped", reason="needs an NVIDIA GPU", concurrency=None),
    ]
    empty = Synthetic(compressions=("none",), optimizers=("adam",))
    with closing(build(tmp_path, empty)) as store:
        columns = generation_table(read(store, store.find_run(None))).columns
    frame = pd.DataFrame(rows, columns=columns).astype({"concurrency": "Int64"})
    run = Measured("generation", date(2026, 11, 26), 4500.0, 2, ("AVX-512",), {"generation": frame})
    shown = generation.page(run)
    assert "## Llama's decoder, 4 layers × 192, prompts of 128 tokens" in shown
    assert "soonest from `openvino-genai` in fp32: 1.00 ms each." in shown
    assert "8 texts get the most in total from `cpu-eager` in fp32: 900 tokens/s." in shown
    assert "| `cpu-eager` in fp32 | 1 | 4.00 ms (3.00 ms to 5.00 ms) |" in shown
    assert "the first token -5.0 to +1800.0 %; each later one -1.0 to -1.0 %" in shown
    assert "`openvino-genai` in fp32, cache in int8 | 1,024 | 0.0123 |" in shown
    assert "0.200 ms" not in shown  # another prompt's
    assert "- `vllm` in fp32: needs an NVIDIA GPU." in shown
