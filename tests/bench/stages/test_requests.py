"""The stage that serves requests: on a model that nobody trained, and what it says of known requests."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from bench import datasets
from bench.errors import DataError
from bench.instruments.request_load import Arrival, ServedLoad, ServedRequest
from bench.models.structures import Structure
from bench.results.artifacts import artifact_folder
from bench.stages import requests
from bench.stages.requests import measured
from techniques.backends.eager import cpu
from techniques.backends.protocol import Numerics
from techniques.registry import CannotApply
from tests.support.stage_requests import request_of

SETTINGS = {
    **{"workload": "shakespeare-gpt2", "backend": "cpu-eager", "format": None, "test_samples": 8},
    **{"precision": "fp32", "rates_per_s": [50.0], "requests": 10},
    **{"prompt_tokens": [4, 16], "new_tokens": [2, 8], "ttft_s": 10.0, "tpot_s": 10.0},
}


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    pytest.importorskip("transformers")
    try:
        datasets.fetch("shakespeare")
    except DataError as error:
        pytest.skip(f"needs the texts: {error}")
    results = tmp_path_factory.mktemp("results")
    lowered = artifact_folder(results, "a" * 64)
    lowered.mkdir(parents=True)
    torch.manual_seed(0)
    structure = Structure("shakespeare-gpt2", width=0.17)
    cpu().lower(structure.build(), torch.zeros(1), Numerics(None, "fp32"), (), lowered)
    structure.save(lowered)
    return results


def asked(results: Path, **settings):
    own = {**SETTINGS, **settings}
    return request_of("requests", results, own, key="b" * 64, parents={"lowered": "a" * 64}, smoke=True)


def test_each_request_is_served_whole_and_within_bounds_that_are_far_off(results):
    found = {(e.metric, e.qualifier): e for e in requests.run(asked(results), Path())}
    assert found["goodput_share", "50/s"].value == 1 and found["goodput_per_s", "50/s"].value > 0
    assert found["request_ttft_s", "50/s"].value > 0
    assert found["request_ttft_p99_s", "50/s"].value is None  # of six requests
    # What launches stop by: the mean over rates of how long a request takes.
    assert found["request_s", ""].value == found["request_s", "50/s"].value > 0
    assert ("valid", "load 50/s") not in found  # of so few nothing is judged


def test_a_smoke_run_has_each_rate_under_its_own_name(results):
    found = requests.run(asked(results, rates_per_s=[2.0, 8.0]), Path())
    named = [(entry.metric, entry.qualifier) for entry in found]
    assert len(set(named)) == len(named)
    assert {"2/s", "8/s"} <= {qualifier for _, qualifier in named}


def test_each_launch_draws_arrivals_of_its_own(results, monkeypatch):
    seeds = []
    plan = requests.plan_requests

    def plan_requests(rate_per_s, count, prompt, new, seed):
        seeds.append(seed)
        return plan(rate_per_s, count, prompt, new, seed)

    monkeypatch.setattr(requests, "plan_requests", plan_requests)
    for number in (0, 3):
        requests.run(replace(asked(results), round=number), Path())
    assert seeds == [0, 3]


def test_lengths_beyond_what_the_model_reads_are_refused(results):
    with pytest.raises(CannotApply, match="prompt and new tokens are up to 136; shakespeare-gpt2 has 128"):
        requests.run(asked(results, prompt_tokens=[4, 128]), Path())


def test_a_load_that_came_late_is_invalid():
    served = [
        ServedRequest(
            Arrival(float(number), 4, 2),
            seen_s=number + late,
            first_s=number + 0.5,
            end_s=number + 0.6,
            tokens=2,
        )
        for number, late in ((0, 0.0), (1, 0.3), (2, 0.3))
    ]
    in_system = sum(request.end_s - request.seen_s for request in served) / 2.6
    load = ServedLoad(served, in_system)
    found = {(e.metric, e.qualifier): e for e in measured(load, 1.0, 0.55, 0.2)}
    assert found["goodput_share", "1/s"].value == 1
    assert found["goodput_per_s", "1/s"].value == pytest.approx(3 / 2.6)
    assert found["valid", "load 1/s"].value == 0
    assert "by Little's law" in found["valid", "load 1/s"].reason
    (strict,) = (e for e in measured(load, 1.0, 0.55, 0.05) if e.metric == "goodput_share")
    assert strict.value == 0
    punctual = {(e.metric, e.qualifier): e for e in measured(ServedLoad(served, 1.8 / 2.6), 1.0, 0.55, 0.2)}
    assert "did not come as planned" in punctual["valid", "load 1/s"].reason
