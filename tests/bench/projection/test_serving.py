"""What serving takes, against counts by hand."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from bench.matrix.file import Prices
from bench.projection.cost import Charges
from bench.projection.devices import Utilization, find_device
from bench.projection.model import ProjectedModel
from bench.projection.serving import Server, ServingQuestion
from bench.projection.sources import find_subject
from tests.support.projected import FAMILIES, Size

pytest.importorskip("transformers")

WORDS, WIDTH, LAYERS, HEADS, KEPT = 1000, 64, 2, 8, 2
LLAMA = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "vocab_size": WORDS,
    "hidden_size": WIDTH,
    "intermediate_size": 160,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": HEADS,
    "num_key_value_heads": KEPT,
    "max_position_embeddings": 256,
}
QUESTION = ServingQuestion(batch=4, prompt=64, new_tokens=65)
IN_CACHE = 64 + 65 - 1
# Its arithmetic is free, so that reading is all that takes time.
READS = replace(
    find_device("a100"),
    operations_per_s={"bf16": 1e30},
    bytes_per_s=1e6,
    decoding=Utilization(0.5, 1.0, "by hand"),
)


@pytest.fixture
def llama(tmp_path):
    def make(**more):
        path = tmp_path / "config.json"
        path.write_text(json.dumps({**LLAMA, **more}))
        return ProjectedModel(find_subject(str(path), 128), "bf16", on_gpu=True)

    return make


def in_layers() -> int:
    channels = WIDTH // HEADS
    attention = 2 * WIDTH * WIDTH + 2 * WIDTH * KEPT * channels
    return LAYERS * (attention + 3 * WIDTH * 160 + 2 * WIDTH) + WIDTH


@pytest.mark.parametrize("tied", [True, False])
def test_a_token_reads_the_head_and_the_layers_and_no_table_that_is_only_looked_up(llama, tied):
    found = Server(llama(tie_word_embeddings=tied), READS, "bf16").serve(QUESTION)
    weights = 2 * (in_layers() + WORDS * WIDTH)
    assert found.memory.weights == pytest.approx(weights + (0 if tied else 2 * WORDS * WIDTH), rel=1e-3)
    assert found.token_s.low == pytest.approx((weights + found.memory.cache) / 1e6, rel=1e-3)
    assert found.token_s.high == pytest.approx(2 * found.token_s.low)
    assert found.first_s.low == pytest.approx(weights / 1e6, rel=1e-3)
    assert found.tokens_per_s.high == pytest.approx(4 / found.token_s.low)


@pytest.mark.parametrize(("devices", "part"), [(1, 1), (2, 1 / 2), (4, 1 / 2), (8, 1 / 2)])
def test_devices_share_the_cache_by_whole_heads(llama, devices, part):
    found = Server(llama(), READS, "bf16", devices).serve(QUESTION)
    whole = 4 * IN_CACHE * 2 * LAYERS * KEPT * (WIDTH // HEADS) * 2
    assert found.memory.cache == whole * part
    assert found.cache_bytes_per_token == whole / 4 / IN_CACHE


def test_a_batch_takes_its_prompt_and_each_further_token_and_costs_what_its_devices_do(llama):
    charges = Charges(Prices(name="by hand", currency="EUR", machine_per_hour=36.0), watts=100.0)
    found = Server(llama(), READS, "bf16", 2, charges).serve(QUESTION)
    assert found.batch_s.low == pytest.approx(found.first_s.low + 64 * found.token_s.low)
    assert found.cost.energy_j.low == pytest.approx(2 * 100 * found.batch_s.low)
    assert found.cost.money.high == pytest.approx(2 * found.batch_s.high / 100)
    assert Server(llama(), READS, "bf16").serve(QUESTION).cost is None


def test_what_an_allocator_holds_beside_tensors_must_fit_too(llama):
    model, plain = llama(), replace(READS, caches=False)
    ours, theirs = (Server(model, device, "bf16").serve(QUESTION) for device in (plain, READS))
    assert ours.memory.fragmentation == 0 < theirs.memory.fragmentation
    assert theirs.total_bytes == ours.total_bytes + theirs.memory.fragmentation
    tight = replace(READS, memory_bytes=theirs.total_bytes - 1)
    assert not Server(model, tight, "bf16").serve(QUESTION).fits


def test_an_answer_costs_what_its_time_does():
    model = ProjectedModel(FAMILIES["CNN"].subject(Size(2, 16)), "bf16", on_gpu=True)
    found = Server(model, READS, "bf16", charges=Charges(watts=10.0)).serve(ServingQuestion(batch=4))
    assert found.batch_s == found.first_s and found.cost.energy_j.low == pytest.approx(10 * found.first_s.low)
    assert found.cost.money is None
