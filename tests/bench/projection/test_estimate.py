"""Projections of known models: GPT-3's published figures, and what each kind of input leads to."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from bench.errors import BenchError
from bench.projection.devices import find_device
from bench.projection.estimate import Question, estimate
from bench.projection.model import ProjectedModel
from bench.projection.parallel import Parallel
from bench.projection.serving import ServingQuestion
from bench.projection.sources import find_subject
from bench.projection.subject import active_parameters, parameters
from tests.support.projected import FAMILIES, Size

pytest.importorskip("transformers")

GPT3 = Path(__file__).parents[2] / "data" / "gpt3_config.json"
LAYERS, WIDTH, WORDS, LENGTH = 96, 12288, 50257, 2048

LLAMA = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "vocab_size": 1000,
    "hidden_size": 64,
    "intermediate_size": 160,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "tie_word_embeddings": False,
}
MIXTRAL = {
    **LLAMA,
    "architectures": ["MixtralForCausalLM"],
    "model_type": "mixtral",
    "num_local_experts": 8,
    "num_experts_per_tok": 2,
}
BERT = {
    "architectures": ["BertForMaskedLM"],
    "model_type": "bert",
    "vocab_size": 1000,
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 256,
    "max_position_embeddings": 128,
}
VIT = {
    "architectures": ["ViTForImageClassification"],
    "model_type": "vit",
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 256,
    "image_size": 64,
    "patch_size": 16,
}


@pytest.fixture
def config(tmp_path):
    def write(content):
        path = tmp_path / "config.json"
        path.write_text(json.dumps(content))
        return str(path)

    return write


@pytest.fixture(scope="module")
def whole_gpt3():
    subject = find_subject(str(GPT3))
    question = Question(
        device=find_device("a100"),
        batch=1536,
        micro_batch=1,
        samples=300e9 / LENGTH,
        parallel=Parallel(tp=8, pp=12, fsdp=16),
        checkpointing=True,
        serving=ServingQuestion(prompt=512, new_tokens=512),
    )
    return estimate(subject, question)


def test_gpt_3_s_configuration_has_its_published_parameters_and_flops():
    subject = find_subject(str(GPT3))
    model = ProjectedModel(subject, "mixed", on_gpu=True)
    # Brown et al. 2020, table D.1: 174,600 million parameters, 3.14e23 FLOPs for 300 billion tokens.
    assert round(parameters(model.model) / 1e6, -2) == 174_600
    assert f"{6 * parameters(model.model) * 300e9:.2e}" == "3.14e+23"


# Configurations as published with the weights; the parameters as counted from those, or told in the paper.
_LLAMA_2_7B = {
    **{"architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": 32000},
    **{"hidden_size": 4096, "intermediate_size": 11008, "num_hidden_layers": 32},
    **{"num_attention_heads": 32, "num_key_value_heads": 32, "max_position_embeddings": 4096},
    "tie_word_embeddings": False,
}
_MIXTRAL_8X7B = {
    **{"architectures": ["MixtralForCausalLM"], "model_type": "mixtral", "vocab_size": 32000},
    **{"hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32},
    **{"num_attention_heads": 32, "num_key_value_heads": 8, "max_position_embeddings": 32768},
    **{"num_local_experts": 8, "num_experts_per_tok": 2, "tie_word_embeddings": False},
}
_BERT_BASE = {
    **{"architectures": ["BertModel"], "model_type": "bert", "vocab_size": 30522},
    **{"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12},
    **{"intermediate_size": 3072, "max_position_embeddings": 512, "type_vocab_size": 2},
}
_VIT_B_16 = {
    **{"architectures": ["ViTForImageClassification"], "model_type": "vit", "hidden_size": 768},
    **{"num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072},
    **{"image_size": 224, "patch_size": 16, "id2label": {str(n): str(n) for n in range(1000)}},
}


@pytest.mark.parametrize(
    ("content", "published"),
    [
        (_LLAMA_2_7B, 6_738_415_616),  # Touvron et al. 2023: 6.7B
        (_MIXTRAL_8X7B, 46_702_792_704),  # Jiang et al. 2024: 47B
        (_BERT_BASE, 109_482_240),  # Devlin et al. 2019: 110M, with the pooler
        (_VIT_B_16, 86_567_656),  # Dosovitskiy et al. 2021: 86M
    ],
    ids=["llama-2-7b", "mixtral-8x7b", "bert-base", "vit-b-16"],
)
def test_published_configurations_have_their_published_parameters(config, content, published):
    subject = find_subject(config(content))
    assert parameters(ProjectedModel(subject, "mixed", on_gpu=True).model) == published


def test_mixtral_s_tokens_meet_the_parameters_that_its_paper_tells(config):
    subject = find_subject(config(_MIXTRAL_8X7B))
    model = ProjectedModel(subject, "mixed", on_gpu=True).model
    # Jiang et al. 2024: of 47B a token meets 13B: all but six of the eight experts of each layer.
    assert active_parameters(model, subject.experts) == 46_702_792_704 - 6 * 32 * 3 * 4096 * 14336
    assert active_parameters(model, subject.experts) == pytest.approx(12.9e9, rel=0.002)


@pytest.mark.slow
def test_gpt_3_s_exact_flops_are_those_of_its_layers():
    footprint = ProjectedModel(find_subject(str(GPT3)), "mixed", on_gpu=True).training(checkpointing=False)
    in_blocks, attention = 24 * WIDTH**2 * LAYERS, 4 * LENGTH * WIDTH * LAYERS
    forward, backward, _ = footprint.flops(1)
    assert forward == LENGTH * (in_blocks + attention + 2 * WORDS * WIDTH)
    assert backward == 2 * forward and not footprint.unknown
    assert 3 * forward * 300e9 / LENGTH == pytest.approx(3.14e23, rel=0.03)


@pytest.mark.slow
def test_gpt_3_fits_on_1536_devices_of_80_gb_and_its_cache_has_every_layer(whole_gpt3):
    assert f"{whole_gpt3.flops.six_n_d:.2e}" == "3.14e+23"
    assert -0.05 < whole_gpt3.flops.six_n_d_error < 0
    assert whole_gpt3.serving.cache_bytes_per_token == 2 * LAYERS * WIDTH * 2
    assert whole_gpt3.serving.devices == 8
    assert whole_gpt3.memory.fits and whole_gpt3.devices == 1536
    assert whole_gpt3.optimal.tokens == pytest.approx(3.7e12, rel=0.01)


def question(**more):
    return Question(**{"device": find_device("a100"), "batch": 4, **more})


def test_a_llama_is_projected_with_its_grouped_cache(config):
    found = estimate(find_subject(config(LLAMA), 128), question())
    # Two of four heads of 16 have keys and values.
    assert found.serving.cache_bytes_per_token == 2 * 2 * 2 * 16 * 2
    assert found.active_parameters == found.parameters
    block = 2 * (64 * (64 + 2 * 32 + 64) + 3 * 64 * 160) + 4 * 128 * 64
    assert found.flops.forward == 4 * 128 * (2 * block + 2 * 64 * 1000)


def test_of_a_mixture_of_experts_a_token_meets_those_that_it_goes_to(config):
    dense = estimate(find_subject(config(LLAMA), 128), question())
    found = estimate(find_subject(config(MIXTRAL), 128), question())
    expert, router = 3 * 64 * 160, 8 * 64
    assert found.parameters == dense.parameters + 2 * (7 * expert + router)
    assert found.active_parameters == dense.parameters + 2 * (expert + router)
    assert found.flops.forward == dense.flops.forward + 4 * 128 * 2 * 2 * (expert + router)


@pytest.mark.parametrize(("content", "unit"), [(BERT, "tokens"), (VIT, "samples")])
def test_encoders_of_texts_and_images_answer_without_a_cache(config, content, unit):
    found = estimate(find_subject(config(content)), question(samples=1000))
    assert found.unit == unit and found.steps == 250
    assert found.serving.token_s is None and found.serving.prompt is None
    assert (found.optimal is None) == (unit == "samples")
    assert found.training_s.low == pytest.approx(250 * found.step.seconds.low)


@pytest.mark.parametrize(
    ("split", "reason"),
    [
        (Parallel(tp=3), "tp=3 must divide the 4 attention heads"),
        (Parallel(pp=3), "pp=3 must be at most the 2 repeated blocks"),
        (Parallel(pp=1000), "pp=1000 must be at most the 2 repeated blocks"),
    ],
)
def test_a_split_that_a_model_does_not_allow_is_refused(config, split, reason):
    with pytest.raises(BenchError, match=reason):
        estimate(find_subject(config(LLAMA), 128), question(batch=1000, parallel=split))


def test_where_heads_are_not_known_a_note_says_what_was_taken():
    subject = FAMILIES["CNN"].subject(Size(2, 16))
    split, plain = (estimate(subject, question(parallel=Parallel(tp=n))).notes for n in (2, 1))
    assert "heads are not known: tp=2 is taken to divide every layer" in split
    assert not any("heads" in note for note in plain)


def test_more_devices_take_less_time_and_hold_less():
    found = estimate(
        FAMILIES["CNN"].subject(Size(2, 16)), question(batch=64, device_counts=(1, 8, 24, 64), samples=6400)
    )
    assert [own.devices for own in found.counts] == [1, 8, 64]  # 64 samples do not divide by 24
    memory = [own.memory_bytes for own in found.counts]
    assert memory == sorted(memory, reverse=True)
    assert found.counts[1].step.seconds.low < found.counts[0].step.seconds.low


def test_the_largest_micro_batch_fits_and_one_more_does_not():
    subject = FAMILIES["CNN"].subject(Size(2, 16))
    small = replace(find_device("a100"), memory_bytes=2**28)
    most = estimate(subject, question(device=small)).memory.largest_micro_batch
    assert estimate(subject, question(device=small, batch=most)).memory.fits
    assert not estimate(subject, question(device=small, batch=most + 1)).memory.fits


def test_what_cannot_be_projected_says_why_in_one_line(config, tmp_path):
    with pytest.raises(BenchError, match="--prompt 200 and --new-tokens 100 are more than the model's 256"):
        estimate(find_subject(config(LLAMA)), question(serving=ServingQuestion(1, 200, 100)))
    with pytest.raises(BenchError, match="--sequence 300 is more than the 256 positions"):
        find_subject(config(LLAMA), 300)
    with pytest.raises(BenchError, match="no such file"):
        find_subject(str(tmp_path / "missing.json"))
    with pytest.raises(BenchError, match=r"must be a config.json, a workload or module:name.*digits"):
        find_subject("digit")
    (tmp_path / "config.json").write_text("[1]")
    with pytest.raises(BenchError, match=r"config\.json"):
        find_subject(str(tmp_path))
