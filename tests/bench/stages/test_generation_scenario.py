"""A language model's generation is planned where its own code runs, once for each structure."""

from __future__ import annotations

import pytest

from bench.errors import MatrixError
from bench.matrix.reading import read_matrix
from bench.plan.planner import make_plan, runs_alone

pytest.importorskip("transformers")


@pytest.fixture
def planned(tmp_path):
    def plan(workload: str, more: str = "", backends: str = '["cpu-eager", "onnxruntime"]'):
        path = tmp_path / "generation.toml"
        path.write_text(
            f'[train]\nworkload = "{workload}"\noptimizer = "adam"\n'
            '[infer]\ncompression = ["none", "prune-mean:1", "student:0.5", "int8-dynamic"]\n'
            f"backend = {backends}\nbatch_size = [1, 8]\n{more}"
        )
        return make_plan(read_matrix(str(path)), cpus=2)

    return plan


def test_it_is_planned_once_for_a_structure_whatever_the_batch_size(planned):
    stages = planned("shakespeare-gpt2").of_kind("generate")
    assert [stage.label for stage in stages] == [
        "shakespeare-gpt2 dense generation @ cpu-eager fp32",
        "shakespeare-gpt2 student:0.5 generation @ cpu-eager fp32",
    ]
    assert all(runs_alone(stage) for stage in stages)


def test_only_cells_of_formats_without_a_cache_go_without(planned):
    cells = planned("shakespeare-gpt2").cells
    assert {cell.axes["compression"] for cell in cells if "generate" in cell.stages} == {
        "none",
        "prune-mean:1",
        "student:0.5",
    }
    assert {cell.axes["backend"] for cell in cells if "generate" in cell.stages} == {"cpu-eager"}


def test_an_engine_of_its_own_is_planned_and_a_draft_is_trained_for_the_one_that_takes_it(planned):
    more = '[generation]\ndrafts = ["shakespeare-llama"]\ntexts = [1, 8]\nprompt_tokens = [16, 64]\n'
    engines = '["cpu-eager", "openvino-genai", "onnxruntime-genai"]'
    plan = planned("shakespeare-llama-22m", more, engines)
    made = {stage.label: stage for stage in plan.of_kind("generate")}
    place = "shakespeare-llama-22m dense generation @ {} fp32"
    assert place.format("openvino-genai") in made
    of_draft = made[place.format("openvino-genai")].request.parents["draft shakespeare-llama"]
    assert plan.stages[of_draft].label.startswith("shakespeare-llama adamw @ openvino-genai")
    for engine in ("cpu-eager", "onnxruntime-genai"):
        assert list(made[place.format(engine)].request.parents) == ["lowered"]
    assert list(made[place.format("cpu-eager")].request.settings["texts"]) == [1, 8]
    assert {stage.label for stage in plan.of_kind("train")} >= {"shakespeare-llama adamw"}


def test_an_engine_that_only_continues_texts_has_its_reason_for_other_workloads(planned):
    (reason,) = {cell.skipped for cell in planned("digits", "", '"openvino-genai"').cells}
    assert reason == "openvino-genai only continues texts, which digits does not"


LOAD = "[generation.requests]\nrates_per_s = [4.0]\nttft_ms = 200.0\ntpot_ms = 20.0\n"


def test_requests_are_planned_only_where_the_matrix_asks_for_them(planned):
    assert planned("shakespeare-gpt2").of_kind("requests") == []
    stages = planned("shakespeare-gpt2", LOAD).of_kind("requests")
    assert [stage.label for stage in stages] == [
        "shakespeare-gpt2 dense requests @ cpu-eager fp32",
        "shakespeare-gpt2 student:0.5 requests @ cpu-eager fp32",
    ]
    settings = stages[0].request.settings
    assert settings["ttft_s"] == 0.2 and list(settings["new_tokens"]) == [16, 64]


def test_lengths_of_requests_have_the_least_first(planned):
    with pytest.raises(MatrixError, match="new_tokens: must have the least before the most"):
        planned("shakespeare-gpt2", f"{LOAD}new_tokens = [9, 8]\n")
    known = "unknown key 'generation.requests.rate_per_s'; did you mean 'rates_per_s'"
    with pytest.raises(MatrixError, match=known):
        planned("shakespeare-gpt2", LOAD.replace("rates_per_s", "rate_per_s"))


def test_a_draft_must_continue_texts(planned):
    with pytest.raises(MatrixError, match=r"\[generation\] drafts: 'digits' does not continue texts"):
        planned("shakespeare-gpt2", '[generation]\ndrafts = ["digits"]\n')


def test_a_model_that_does_not_generate_has_no_such_stage(planned):
    assert planned("digits").of_kind("generate") == []


def test_caches_that_the_matrix_names_are_measured_by_the_same_stage(planned):
    more = '[generation]\ncaches = ["int8", "int8"]\n'
    for stage in planned("shakespeare-gpt2", more).of_kind("generate"):
        assert list(stage.request.settings["caches"]) == ["int8"]
    assert not any(
        stage.request.settings["caches"] for stage in planned("shakespeare-gpt2").of_kind("generate")
    )
