"""XLA gives the outputs of PyTorch's models, and trains them as PyTorch does."""

from __future__ import annotations

import importlib.util
import json
import zipfile
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from bench.workloads import text_encoder
from bench.workloads.image_classification import SimpleCNN
from bench.workloads.vision_models import VisionTransformer
from techniques.backends import xla_hardware
from techniques.backends.protocol import Numerics
from techniques.backends.training import TorchTrainingStep
from techniques.optimizers import OPTIMIZERS
from techniques.optimizers.torch_optim import build
from techniques.regime import AVERAGES, CLIPS, SCHEDULES, Regime
from techniques.registry import CannotApply, Obstacle, Row, Technique

if any(importlib.util.find_spec(name) is None for name in ("jax", "torchax", "optax")):
    pytest.skip("needs jax, torchax and optax", allow_module_level=True)

from techniques.backends import xla, xla_compat
from techniques.backends.frameworks import optax_rules
from techniques.backends.xla_memory import XlaAllocator

FP32, BF16 = Numerics(None, "fp32"), Numerics(None, "bf16")
IMAGES = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
TOKENS = torch.randint(1, 50, (4, 12), generator=torch.Generator().manual_seed(0))
TOKENS[0, 7:] = 0
MODELS = {
    "cnn": (lambda: SimpleCNN(8), IMAGES),
    "vit": (lambda: VisionTransformer(8, 4, 2, 2), IMAGES),
    "text": (lambda: text_encoder.small(50, 12, 2, 2, 0.1), TOKENS),
}


def loaded(folder: Path, model: nn.Module, example: torch.Tensor, numerics: Numerics = FP32):
    backend = xla.cpu()
    backend.lower(deepcopy(model), example, numerics, [], folder)
    return backend, backend.load(folder, lambda: model, numerics, 2)


@pytest.mark.parametrize(("numerics", "allowed"), [(FP32, 1e-4), (BF16, 2e-2)])
@pytest.mark.parametrize("name", MODELS)
def test_a_lowered_model_gives_its_models_outputs(tmp_path, name, numerics, allowed):
    torch.manual_seed(0)
    make, example = MODELS[name]
    model = make().eval()
    with torch.no_grad():
        expected = model(example)
    _, program = loaded(tmp_path, model, example, numerics)
    outputs = program.to_tensor(program(program.prepare(example)))
    assert outputs.dtype == torch.float32
    assert (outputs - expected).abs().max() <= allowed * expected.abs().max()


def test_an_exported_program_is_lowered_as_its_model_is(tmp_path):
    model = torch.export.export(SimpleCNN(8).eval(), (IMAGES,)).module()
    _, program = loaded(tmp_path, model, IMAGES)
    outputs = program.to_tensor(program(program.prepare(IMAGES)))
    assert torch.allclose(outputs, model(IMAGES), atol=1e-5)


def test_the_lowered_file_is_stablehlo_and_weights_with_neither_pickle_nor_paths(tmp_path):
    loaded(tmp_path, SimpleCNN(8).eval(), IMAGES)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.stablehlo", "weights.safetensors"]
    content = (tmp_path / "model.stablehlo").read_bytes()
    assert b"StableHLO" in content and b".py" not in content
    assert not any(zipfile.is_zipfile(path) for path in tmp_path.iterdir())


def test_kernels_are_read_from_the_optimized_program(tmp_path):
    _, program = loaded(tmp_path, SimpleCNN(8).eval(), IMAGES)
    assert {"Convolution fp32", "MatMul fp32"} <= set(program.kernels(program.prepare(IMAGES)))


def test_products_on_a_tpu_are_told_by_their_operands_and_origin():
    text = """
      %a = bf16[8,128]{1,0:T(8,128)(2,1)} parameter(0)
      %b = s8[8,128]{1,0:T(8,128)(4,1)} parameter(1)
      ROOT %c = f32[8,8]{1,0:T(8,128)S(1)} convolution(bf16[8,128]{1,0:T(8,128)(2,1)} %a, %a), \
dim_labels=bf_io->bf, metadata={op_name="jit(f)/linear/dot_general"}
      %d = s32[8,8]{1,0} convolution(%b, %b), dim_labels=b01f_01io->b01f
      %e = (f32[8]{0}, u8[16]{0}) custom-call(%a), custom_call_target="tpu_custom_call"
    """
    assert xla.kernels_of_hlo(text) == ["Convolution int8", "MatMul bf16", "tpu_custom_call"]


def test_a_trace_names_instructions_with_their_time_and_opens_in_chrome(tmp_path):
    _, program = loaded(tmp_path, SimpleCNN(8).eval(), IMAGES)
    path = tmp_path / "trace.json"
    operators = program.trace([program.prepare(IMAGES)], 5, path)
    assert any("convolution" in entry.name and entry.calls == 5 for entry in operators)
    assert [entry.self_s for entry in operators] == sorted((o.self_s for o in operators), reverse=True)
    assert json.loads(path.read_text())["traceEvents"]


def test_time_within_an_instruction_that_is_called_is_not_its_callers():
    def event(name: str, ts: float, dur: float):
        return {"name": name, "tid": 1, "ts": ts, "dur": dur, "args": {"hlo_op": name}}

    events = [event("while", 0, 100), event("dot", 10, 30), event("dot", 50, 20), event("add", 100, 5)]
    operators = xla.operators_of_trace(events)
    times = {entry.name: (entry.calls, round(1e6 * entry.self_s)) for entry in operators}
    assert times == {"while": (1, 50), "dot": (2, 50), "add": (1, 5)}


def test_synchronizing_waits_for_every_call(tmp_path):
    deep = nn.Sequential(*(nn.Linear(500, 500) for _ in range(10)))
    backend, program = loaded(tmp_path, deep, torch.ones(500, 500))
    prepared = program.prepare(torch.ones(500, 500))
    outputs = [program(prepared) for _ in range(3)]
    backend.synchronize()
    assert all(output.is_ready() for output in outputs)


def test_what_the_device_does_not_count_is_unknown():
    allocator = XlaAllocator("cpu")
    allocator.reset_peak_memory_stats()
    assert allocator.max_memory_allocated() is allocator.max_memory_reserved() is None
    allocator._device = SimpleNamespace(memory_stats=lambda: {"peak_bytes_in_use": 5})
    assert (allocator.max_memory_allocated(), allocator.max_memory_reserved()) == (5, None)


def test_prepared_batches_are_copies_and_tokens_that_do_not_fit_are_refused(tmp_path):
    _, program = loaded(tmp_path, nn.Linear(4, 4).eval(), torch.ones(16, 4))
    batch = torch.ones(16, 4)
    prepared = program.prepare(batch)
    batch.zero_()
    assert torch.equal(xla_compat.to_torch(prepared), torch.ones(16, 4))
    with pytest.raises(OverflowError, match="32 bits"):
        program.prepare(torch.tensor([2**31]))


def test_what_torchax_cannot_trace_cannot_apply(tmp_path):
    class Sparse(nn.Module):
        def forward(self, numbers: torch.Tensor) -> torch.Tensor:
            return numbers[numbers > 0]

    with pytest.raises(CannotApply, match="torchax cannot trace this: NonConcreteBooleanIndexError"):
        xla.cpu().lower(Sparse(), IMAGES, FP32, [], tmp_path)
    given = nn.Identity()
    given.onnx_file = "model.onnx"
    with pytest.raises(CannotApply, match="an ONNX file"):
        xla.cpu().lower(given, IMAGES, FP32, [], tmp_path)


def test_torchax_imports_and_leaves_pytorch_as_it_was():
    before = torch.backends.mha.get_fastpath_enabled()
    xla_compat.import_torchax()
    assert torch.backends.mha.get_fastpath_enabled() == before
    assert xla_compat.missing_overloads() == set()


def mlp() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(192, 32), nn.Tanh(), nn.Linear(32, 10))


def normalized() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(288, 10), nn.BatchNorm1d(10)
    )


def batches(count: int, tokens: bool = False):
    generator = torch.Generator().manual_seed(1)
    for _ in range(count):
        images = torch.randn(16, 3, 8, 8, generator=generator)
        words = torch.randint(0, 50, (16, 12), generator=generator)
        yield words if tokens else images, torch.randint(0, 10, (16,), generator=generator)


def trained(model: nn.Module, optimizer: str, steps: int = 5, precision: str = "fp32", tokens: bool = False):
    """Train a copy in XLA and one in PyTorch; return both and their losses."""
    technique = OPTIMIZERS.parse(optimizer)
    ours, theirs = deepcopy(model), deepcopy(model).train()
    step = xla.cpu().compile_step(ours, nn.functional.cross_entropy, technique, precision)
    reference = build(technique, theirs)
    losses = []
    for images, targets in batches(steps, tokens):
        reference.zero_grad()
        loss = nn.functional.cross_entropy(theirs(images), targets)
        loss.backward()
        reference.step()
        losses.append((step(images, targets).item(), loss.item()))
        step.write_back()
    return ours, theirs, losses


def distance(ours: nn.Module, theirs: nn.Module) -> float:
    pairs = zip(ours.state_dict().values(), theirs.state_dict().values(), strict=True)
    return max((one - other).abs().max().item() for one, other in pairs)


RULES = """
sgd                 sgd:weight_decay=0.1
momentum            momentum:nesterov=true,weight_decay=0.1
nesterov            nesterov:weight_decay=0.1
adam                adam:weight_decay=0.1,eps=1e-4
adamw               adamw:weight_decay=0.5
rmsprop             rmsprop:alpha=0.9,eps=1e-3,momentum=0.5
"""


@pytest.mark.parametrize("optimizer", RULES.split())
def test_optimizers_update_weights_as_pytorchs_do(optimizer):
    torch.manual_seed(0)
    ours, theirs, losses = trained(mlp(), optimizer)
    assert distance(ours, theirs) < 1e-5
    assert all(one == pytest.approx(other, abs=1e-5) for one, other in losses)


# An eps of 1e-8 makes steps as large as any of gradients that are only rounding, of which a CNN has some.
@pytest.mark.parametrize(
    "optimizer", ["sgd:lr=0.05", "momentum", "adam:eps=1e-4", "adamw:eps=1e-4", "rmsprop:eps=1e-3"]
)
def test_a_cnn_is_trained_as_pytorch_trains_it(optimizer):
    torch.manual_seed(0)
    ours, theirs, _ = trained(SimpleCNN(8), optimizer)
    assert distance(ours, theirs) < 1e-5


REGIMES = [
    ("cosine:warmup=0.2", "none", "none"),
    ("wsd:warmup=0,decay=0.6", "norm:0.2", "none"),
    ("constant", "none", "ema:0.5"),
    ("linear", "norm:0.2", "mean:0.6"),
]


@pytest.mark.parametrize("optimizer", ["momentum", "adamw:eps=1e-3", "rmsprop:momentum=0.5,eps=1e-3"])
@pytest.mark.parametrize("texts", REGIMES, ids=" ".join)
def test_schedules_clipping_and_averages_are_those_of_pytorch(texts, optimizer):
    steps = 6
    schedule, clip, average = texts
    own = Regime(SCHEDULES.parse(schedule), CLIPS.parse(clip), AVERAGES.parse(average), steps)
    torch.manual_seed(0)
    model = normalized()
    ours, theirs = deepcopy(model), deepcopy(model).train()
    technique, loss = OPTIMIZERS.parse(optimizer), nn.functional.cross_entropy
    step = xla.cpu().compile_step(ours, loss, technique, "fp32", own)
    reference = TorchTrainingStep(theirs, loss, build(technique, theirs), regime=own)
    for number, batch in enumerate(batches(steps)):
        assert step(*batch).item() == pytest.approx(reference(*batch).item(), abs=1e-4)
        if number % 2:
            step.write_back()
            reference.write_back()
            assert distance(ours, theirs) < 1e-4
    averaged = [sorted(tuple(tensor.shape) for tensor in each.averaged) for each in (step, reference)]
    assert averaged[0] == averaged[1] and bool(averaged[0]) == (average != "none")
    if clip != "none":
        found, expected = step.clipping(), reference.clipping()
        assert (found.steps, found.bound) == (expected.steps, expected.bound)
        assert found.max_norm == pytest.approx(expected.max_norm, rel=1e-3)


def test_a_clipping_without_a_rule_in_xla_is_one_line():
    row = replace(CLIPS.get("norm"), name="mine")
    own = Regime(clip=Technique(row, {"limit": 1.0}))
    with pytest.raises(CannotApply, match="clip=mine:1 has no rule in XLA"):
        xla.cpu().compile_step(mlp(), nn.functional.cross_entropy, OPTIMIZERS.parse("sgd"), "fp32", own)


def test_training_updates_running_statistics_and_leaves_frozen_weights():
    torch.manual_seed(0)
    model = normalized()
    model[0].requires_grad_(False)
    ours, theirs, _ = trained(model, "momentum")
    assert distance(ours, theirs) < 1e-5
    assert ours[1].num_batches_tracked == 5
    assert not torch.allclose(ours[1].running_mean, torch.zeros(8))
    assert torch.equal(ours[0].weight, model[0].weight)


def test_warming_up_leaves_weights_statistics_and_random_numbers():
    model = nn.Sequential(nn.Flatten(), nn.Linear(192, 10), nn.BatchNorm1d(10), nn.Dropout(0.5)).eval()
    before, generator = deepcopy(model.state_dict()), torch.get_rng_state()
    step = xla.cpu().compile_step(model, nn.functional.cross_entropy, OPTIMIZERS.parse("adam"), "fp32")
    step.warm_up(*next(batches(1)))
    step.write_back()
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), generator)
    assert not model.training


def test_dropout_draws_anew_each_step_and_again_from_the_same_seed():
    def losses(seed: int) -> list[float]:
        torch.manual_seed(seed)
        model = nn.Sequential(nn.Linear(1, 1, bias=False), nn.Dropout(0.5))
        nn.init.ones_(model[0].weight)
        technique = OPTIMIZERS.parse("sgd:lr=1e-9")
        step = xla.cpu().compile_step(model, lambda outputs, _: outputs.square().mean(), technique, "fp32")
        return [step(torch.ones(2000, 1), torch.zeros(1)).item() for _ in range(4)]

    first = losses(2**40 + 7)
    assert len(set(first)) == 4
    # Half of the ones become 2, whose square is 4.
    assert sum(first) / 4 == pytest.approx(2, abs=0.15)
    assert losses(2**40 + 7) == first
    assert losses(8) != first


def test_in_bf16_weights_and_statistics_stay_fp32():
    torch.manual_seed(0)
    model = normalized()
    ours, theirs, losses = trained(model, "sgd:lr=0.001", steps=3, precision="bf16")
    assert all(one == pytest.approx(other, rel=2e-2) for one, other in losses)
    assert any(one != pytest.approx(other, rel=1e-5) for one, other in losses)
    # Steps this small would be lost in bf16, whose numbers near 0.1 lie 5e-4 apart.
    moved = (ours[4].weight - model[4].weight).abs()
    assert 0 < moved.max() < 1e-3
    assert (ours[4].weight - ours[4].weight.bfloat16()).abs().max() > 0
    assert torch.allclose(ours[1].running_var, theirs[1].running_var, rtol=1e-2)


def test_attention_and_tokens_are_trained_too():
    torch.manual_seed(0)
    model = nn.Sequential(text_encoder.small(50, 12, 2, 1, 0.0), nn.Flatten(), nn.Linear(768, 10))
    ours, theirs, _ = trained(model, "sgd", steps=2, tokens=True)
    assert distance(ours, theirs) < 1e-5


def test_an_optimizer_without_a_rule_cannot_apply():
    row = Row("other", "torch.optim:Adagrad", about="")
    with pytest.raises(CannotApply, match="Adagrad is not mapped to optax"):
        optax_rules.update_rule(Technique(row, {}))
    with pytest.raises(CannotApply, match="dampening"):
        optax_rules.update_rule(Technique(OPTIMIZERS.get("sgd"), {"lr": 0.1, "dampening": 0.1}))


def test_a_tpu_is_told_from_googles_other_devices(tmp_path, monkeypatch):
    monkeypatch.setattr(xla_hardware, "_PCI", tmp_path)
    monkeypatch.delenv("JAX_FORCE_TPU_INIT", raising=False)
    monkeypatch.delenv("TPU_LIBRARY_PATH", raising=False)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    device = tmp_path / "0000:00:04.0"
    device.mkdir()
    (device / "vendor").write_text("0x1ae0\n")
    (device / "device").write_text("0x0042\n")  # a network card
    obstacle = xla_hardware.without_tpu()
    assert obstacle == Obstacle("requires a Google TPU; none was found", hardware="a Google TPU")
    (device / "device").write_text("0x0063\n")
    assert "pip install 'jax[tpu]'" in str(xla_hardware.without_tpu())
    (tmp_path / "libtpu.so").touch()
    monkeypatch.setenv("TPU_LIBRARY_PATH", str(tmp_path / "libtpu.so"))
    assert xla_hardware.without_tpu() is None
