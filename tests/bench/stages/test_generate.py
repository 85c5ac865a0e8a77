"""The stage that generates, on a model that nobody trained: what it measures and what it judges."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from bench import datasets
from bench.errors import DataError
from bench.models.files import save_outputs
from bench.models.predictions import gathered
from bench.models.structures import Structure
from bench.results.artifacts import artifact_folder
from bench.stages import generate
from bench.workloads.loading import example_batch, load_workload
from bench.workloads.output_kinds import parse_kind
from techniques.backends.eager import cpu
from techniques.backends.protocol import Numerics
from techniques.registry import CannotApply
from tests.support.stage_requests import request_of

pytest.importorskip("transformers")

SETTINGS = {
    **{"workload": "shakespeare-gpt2", "backend": "cpu-eager", "format": None, "test_samples": 8},
    **{"caches": ["int8", "nf4"], "texts": [1, 2], "prompt_tokens": [8, 16], "drafts": ["shakespeare-gpt2"]},
}


def asked(results: Path, settings: dict, **more):
    lowered = artifact_folder(results, "a" * 64)
    if not lowered.exists():
        lowered.mkdir(parents=True)
        torch.manual_seed(0)
        structure = Structure("shakespeare-gpt2", width=0.34)
        model = structure.build().eval()
        cpu().lower(model, torch.zeros(1), Numerics(None, settings["precision"]), (), lowered)
        structure.save(lowered)
        workload, data = load_workload("shakespeare-gpt2", 8)
        batch = example_batch(workload, data, 4)
        with torch.no_grad():
            outputs = gathered([(structure_outputs(lowered, structure, batch), len(batch))])
        save_outputs(lowered, replace(outputs, kind=parse_kind("scores:2")))
    return request_of("generate", results, settings, key="b" * 64, parents={"lowered": "a" * 64}, **more)


def structure_outputs(folder: Path, structure: Structure, batch: torch.Tensor) -> torch.Tensor:
    program = cpu().load(folder, structure.build, Numerics(None, "fp32"), 1)
    return program.to_tensor(program(program.prepare(batch)))


@pytest.fixture(scope="module")
def texts():
    try:
        datasets.fetch("shakespeare")
    except DataError as error:
        pytest.skip(f"needs the texts: {error}")


@pytest.fixture(scope="module", params=["fp32", "bf16"])
def measured(request, texts, tmp_path_factory):
    precision = request.param
    settings = {**SETTINGS, "precision": precision}
    wanted = asked(tmp_path_factory.mktemp("results"), settings, smoke=True, all_passes=precision == "fp32")
    return precision, {(entry.metric, entry.qualifier): entry for entry in generate.run(wanted, Path())}


def test_each_length_and_number_of_texts_has_its_times(measured):
    _, found = measured
    for metric in ("ttft_s", "tpot_s", "inter_token_s", "tokens_per_s", "batch_s"):
        places = [f"{texts} prompt={prompt} new=4" for texts in (1, 2) for prompt in (8, 16)]
        assert all(found[metric, place].value > 0 for place in places)
    entry = found["inter_token_p99_s", "1 prompt=8 new=4"]
    assert entry.value is None and "too few for the 0.99 quantile" in entry.reason


def test_what_launches_stop_by_is_the_sum_over_all_that_was_timed(measured):
    _, found = measured
    batches = [entry.value for (metric, _), entry in found.items() if metric == "batch_s"]
    assert len(batches) == 8 and found["generation_s", ""].value == pytest.approx(sum(batches))


def test_each_point_has_its_own_peak_of_memory_and_the_stage_the_largest_of_them(measured):
    _, found = measured
    points = [f"{texts}{cache} prompt=8 new=4" for texts in (1, 2) for cache in ("", " int8")]
    places = [*points, "load", "load int8", ""]
    for place in places:
        assert found["peak_rss_bytes", place].value > found["rss_growth_bytes", place].value >= 0
    peaks = [entry.value for (metric, place), entry in found.items() if metric == "peak_rss_bytes" and place]
    assert found["peak_rss_bytes", ""].value == max(peaks)


def test_the_cache_is_counted_in_its_own_precision_and_smaller_in_int8(measured):
    precision, found = measured
    layers, heads, width, bytes_each = 4, 2, 64, {"fp32": 4, "bf16": 2}[precision]
    own = found["cache_bytes_per_token", ""].value
    assert own == 2 * layers * width * bytes_each
    assert found["cache_bytes_per_token", "int8"].value == 2 * layers * (width + heads * bytes_each) < own
    assert found["tokens_per_s", "2 int8 prompt=8 new=4"].value > 0


def test_what_an_engine_does_not_support_is_on_record_with_the_reason(measured):
    _, found = measured
    nf4 = found["cache_bytes_per_token", "nf4"]
    assert nf4.value is None and nf4.reason == "the workload has no cache in nf4; it has int8"
    draft = found["cache_bytes_per_token", "draft=shakespeare-gpt2"]
    assert draft.value is None and draft.reason == "cpu-eager continues texts without a draft model"
    assert not any("nf4" in place or "draft" in place for metric, place in found if metric == "tokens_per_s")


def test_the_first_launch_judges_logits_and_tokens_by_the_eager_model(measured):
    precision, found = measured
    if precision != "fp32":
        assert ("generation_kl", "") not in found
        return
    assert found["valid", "cache"].value == 1, found["valid", "cache"].reason
    assert found["valid", "greedy"].value == 1, found["valid", "greedy"].reason
    assert found["generation_kl", ""].value == pytest.approx(0, abs=1e-6)
    assert found["generation_agreement", ""].value == 1
    assert 3 < found["generation_nats", ""].value < 7  # untrained: about the logarithm of 96
    assert 0 < found["generation_kl", "int8"].value < 0.01
    assert found["generation_agreement", "int8"].value > 0.5
    own_nats = found["generation_nats", ""].value
    assert found["generation_nats", "int8"].value == pytest.approx(own_nats, abs=0.05)
    weights, place = found["decode_bytes", "1 prompt=8 new=4"].value, "2 prompt=16 new=4"
    per_token = found["cache_bytes_per_token", ""].value
    assert found["decode_bytes", place].value == pytest.approx(weights + per_token * (2 * 18 - 10))


def test_logits_that_are_not_the_models_make_it_invalid(texts, tmp_path):
    settings = {**SETTINGS, "caches": [], "texts": [1], "prompt_tokens": [8], "precision": "fp32"}
    wanted = asked(tmp_path, settings, smoke=True, all_passes=True)
    folder = artifact_folder(tmp_path, "a" * 64)
    workload, data = load_workload("shakespeare-gpt2", 8)
    batch = example_batch(workload, data, 4)
    wrong = torch.randn(*batch.shape, 96, generator=torch.Generator().manual_seed(0))
    save_outputs(folder, replace(gathered([(wrong, 4)]), kind=parse_kind("scores:2")))
    found = {(entry.metric, entry.qualifier): entry for entry in generate.run(wanted, Path())}
    assert found["valid", "cache"].value == 0 and "relative error" in found["valid", "cache"].reason


def test_lengths_beyond_what_the_model_reads_are_refused(texts, tmp_path):
    wanted = asked(tmp_path, {**SETTINGS, "prompt_tokens": [127], "precision": "fp32"}, smoke=True)
    with pytest.raises(CannotApply, match="prompt and new tokens are 131 at least; shakespeare-gpt2 has 128"):
        generate.run(wanted, Path())
