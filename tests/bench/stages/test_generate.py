"""The stage that generates, on a model that nobody trained: what it measures and what it judges."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from bench import datasets
from bench.errors import DataError
from bench.models.structures import Structure
from bench.results.artifacts import artifact_folder
from bench.stages import generate
from techniques.backends.eager import cpu
from techniques.backends.protocol import Numerics
from tests.support.stage_requests import request_of

pytest.importorskip("transformers")

SETTINGS = {
    **{"workload": "shakespeare-gpt2", "backend": "cpu-eager", "format": None, "test_samples": 64},
    "caches": ["int8", "nf4"],
}


@pytest.fixture(scope="module", params=["fp32", "bf16"])
def measured(request, tmp_path_factory):
    try:
        datasets.fetch("shakespeare")
    except DataError as error:
        pytest.skip(f"needs the texts: {error}")
    results, key, precision = tmp_path_factory.mktemp("results"), "a" * 64, request.param
    lowered = artifact_folder(results, key)
    lowered.mkdir(parents=True)
    torch.manual_seed(0)
    structure = Structure("shakespeare-gpt2", width=0.34)
    cpu().lower(structure.build(), torch.zeros(1), Numerics(None, precision), (), lowered)
    structure.save(lowered)
    settings = {**SETTINGS, "precision": precision}
    asked = request_of("generate", results, settings, key="b" * 64, parents={"lowered": key}, smoke=True)
    return precision, {(entry.metric, entry.qualifier): entry for entry in generate.run(asked, Path())}


def test_each_number_of_texts_side_by_side_has_its_times(measured):
    _, found = measured
    for metric in ("ttft_s", "inter_token_s", "tokens_per_s"):
        assert all(found[metric, str(beside)].value > 0 for beside in generate.CONCURRENCY)
    assert found["inter_token_p99_s", "1"].value is None
    assert "too few for the 0.99 quantile" in found["inter_token_p99_s", "1"].reason


def test_the_cache_is_sound_and_counted_in_its_own_precision(measured):
    precision, found = measured
    assert found["valid", "cache"].value == 1, found["valid", "cache"].reason
    layers, width, bytes_each = 4, 64, {"fp32": 4, "bf16": 2}[precision]
    assert found["cache_bytes_per_token", ""].value == 2 * layers * width * bytes_each


def test_a_cache_in_int8_is_smaller_and_its_tokens_are_nearly_as_likely(measured):
    precision, found = measured
    heads, width, bytes_of_scale = 2, 64, {"fp32": 4, "bf16": 2}[precision]
    size = found["cache_bytes_per_token", "int8"].value
    assert size == 2 * 4 * (width + heads * bytes_of_scale) < found["cache_bytes_per_token", ""].value
    assert 0 <= found["cache_kl", "int8"].value < 0.01
    assert found["cache_agreement", "int8"].value > 0.5
    assert all(found["tokens_per_s", f"{beside} int8"].value > 0 for beside in generate.CONCURRENCY)


def test_a_cache_that_a_model_does_not_have_is_on_record_with_the_reason(measured):
    _, found = measured
    entry = found["cache_bytes_per_token", "nf4"]
    assert entry.value is None and entry.reason == "the workload has no cache in nf4; it has int8"
    assert ("tokens_per_s", "1 nf4") not in found
