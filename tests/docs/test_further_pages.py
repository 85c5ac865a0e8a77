"""The pages of `requests` and of `frameworks` say what their runs measured, and what they did not."""

from __future__ import annotations

from contextlib import closing
from datetime import date
from pathlib import Path

import pandas as pd
import pytest

from docs.results import frameworks, requests
from docs.results.measured import Measured
from reports.frames.requests import requests_table
from reports.frames.view import read
from tests.support.synthetic_run import Synthetic, build


def measured_of(matrix: str, **frames: pd.DataFrame) -> Measured:
    return Measured(matrix, date(2026, 12, 1), 720.0, 2, ("AVX-512",), frames)


@pytest.fixture
def columns(tmp_path: Path) -> list[str]:
    with closing(build(tmp_path, Synthetic(compressions=("none",), optimizers=("adam",)))) as store:
        return list(requests_table(read(store, store.find_run(None))).columns)


def request_row(**own: object) -> dict[str, object]:
    known = {
        **{"workload": "shakespeare-llama", "backend": "cpu-eager", "precision": "fp32", "state": "ok"},
        **{"offered_per_s": 8.0, "ttft_bound_s": 0.1, "tpot_bound_s": 0.02, "reason": ""},
        **{"goodput_per_s": 4.0, "goodput_low": 3.5, "goodput_high": 4.5, "goodput_share": 0.5},
        **{"requests_in_system": 3.25, "request_ttft_s": 0.05, "request_ttft_p99_s": 0.3},
        **{"request_tpot_s": 0.01, "request_tpot_p99_s": 0.02},
    }
    return {**known, **own}


def test_the_page_of_requests_names_the_engine_that_serves_the_highest_rate_best(columns: list[str]) -> None:
    rows = [
        request_row(offered_per_s=2.0, goodput_share=1.0, goodput_per_s=2.0),
        request_row(),
        request_row(backend="openvino-genai", goodput_per_s=7.6, goodput_share=0.95, state="INVALID"),
        request_row(backend="vllm", state="skipped", reason="needs an NVIDIA GPU", offered_per_s=None),
    ]
    shown = requests.page(measured_of("requests", requests=pd.DataFrame(rows, columns=columns)))
    assert "Bounds: the first token within 100 ms, later ones within 20.0 ms each." in shown
    assert "Of 8.00 requests a second, `cpu-eager` in fp32 serves most within the bounds: 50 %." in shown
    assert (
        "| `cpu-eager` in fp32 | 8.00/s | 4.00 requests/s (3.50 to 4.50) | 50 % | 50.0 ms | 300 ms |" in shown
    )
    assert "| `openvino-genai` in fp32 (INVALID) |" in shown  # and is not the best
    assert "- `vllm` in fp32: needs an NVIDIA GPU." in shown


def training_row(seed: int, backend: str, **own: object) -> dict[str, object]:
    known = {
        **{"workload": "fashion-mnist-simplecnn", "optimizer": "adam", "train_backend": backend},
        **{"seed": seed, "state": "ok", "reason": "", "target_reached": 1.0, "quality": 0.9},
        **{"steps_to_target": 1000.0 + seed, "time_to_target_by_steps_s": 10.0 + seed},
    }
    return {**known, **own}


def test_the_page_of_frameworks_holds_each_against_pytorch() -> None:
    trained = [
        *(training_row(seed, "cpu-eager") for seed in range(3)),
        *(training_row(seed, "keras-jax", steps_to_target=1001.0) for seed in range(2)),
        training_row(2, "keras-jax", steps_to_target=None, target_reached=0.0),
        training_row(0, "jax", state="skipped", reason="needs Flax"),
    ]
    timed = [
        {
            **{"workload": "fashion-mnist-simplecnn", "optimizer": "adam", "train_backend": backend},
            **{"step_latency_s": seconds, "step_latency_low_s": 0.9 * seconds, "first_call_s": 2.0},
            "step_latency_high_s": 1.1 * seconds,
        }
        for backend, seconds in (("cpu-eager", 0.01), ("keras-jax", 0.015))
    ]
    frames = {"training": pd.DataFrame(trained), "steps": pd.DataFrame(timed)}
    shown = frameworks.page(measured_of("frameworks", **frames))
    assert "## SimpleCNN by `adam`" in shown
    assert "| `cpu-eager` | 3/3 seeds | 1,001 | 11.0 s | 90.00 % | 10.0 ms (9.00 to 11.0) | 1.00× |" in shown
    assert "| `keras-jax` | 2/3 seeds | – |" in shown and "| 1.50× | 2.00 s |" in shown
    assert "- `jax` by `adam`: needs Flax." in shown
