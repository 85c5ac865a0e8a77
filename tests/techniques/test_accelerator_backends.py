"""Backends of accelerators: what they choose and set, and their own code wherever a CPU can run it."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from bench.instruments.environment import describe_torch_cuda
from bench.instruments.gpu import GpuProbe
from techniques.backends import accelerators, hardware
from techniques.backends.accelerators import (
    EventTimer,
    allocator,
    flush_cache,
    fp32_arithmetic,
    set_fp32_arithmetic,
    synchronize,
    torch_device,
)
from techniques.backends.cuda_graphs import CudaGraphs, GraphProgram, RecordedModel
from techniques.backends.cuda_inductor import CudaInductor
from techniques.backends.protocol import Numerics
from techniques.backends.tensorrt import TensorRt
from techniques.optimizers import OPTIMIZERS
from techniques.precisions import PRECISIONS
from techniques.registry import CannotApply, TechniqueError

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 36, 10)).eval()


def as_set() -> tuple[str, str]:
    return torch.backends.cuda.matmul.fp32_precision, torch.backends.cudnn.conv.fp32_precision


@pytest.fixture
def ampere(monkeypatch):
    """Pretend an NVIDIA GPU of compute capability 8.0, or another; fp32 is left as it was."""

    def pretend(capability: tuple[int, int] = (8, 0)) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: capability)

    with fp32_arithmetic("fp32"):
        yield pretend


def test_gpus_of_amd_are_cuda_to_pytorch():
    assert torch_device("rocm") == torch_device("cuda") == CUDA
    assert torch_device("mps").type == "mps"


def test_only_accelerators_are_waited_for(monkeypatch):
    waited: list[torch.device] = []
    monkeypatch.setattr(torch.accelerator, "synchronize", waited.append)
    synchronize(CPU)
    synchronize(CUDA)
    assert waited == [CUDA]


def test_memory_is_counted_by_the_devices_own_allocator(monkeypatch):
    assert allocator("cuda") is allocator("rocm") is torch.cuda
    assert allocator("xpu") is torch.xpu
    assert allocator("cpu") is allocator("tpu") is None
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert allocator("mps") is None
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert allocator("mps") is torch.accelerator


def test_fp32_is_multiplied_as_fp32_and_tf32_as_tf32_and_then_as_before(ampere):
    ampere()
    with fp32_arithmetic("tf32"):
        assert as_set() == ("tf32", "tf32")
        torch.get_float32_matmul_precision()  # Inductor asks; it must not find two answers
        with pytest.raises(ZeroDivisionError), fp32_arithmetic("fp32"):
            assert "tf32" not in as_set()
            raise ZeroDivisionError
        assert as_set() == ("tf32", "tf32")
    assert "tf32" not in as_set()


def test_tf32_where_no_gpu_multiplies_it_is_refused_and_never_fp32_in_disguise(ampere, monkeypatch):
    ampere((7, 5))
    with pytest.raises(CannotApply, match=r"capability 8\.0; this one has 7\.5"):
        set_fp32_arithmetic("tf32")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(CannotApply, match="NVIDIA"):
        set_fp32_arithmetic("tf32")


def test_an_accelerators_timer_waits_for_its_last_event(monkeypatch):
    told: list[str] = []

    class Event:
        def __init__(self, enable_timing: bool) -> None:
            assert enable_timing

        def record(self, stream: str = "current") -> None:
            told.append(f"record on {stream}")

        def synchronize(self) -> None:
            told.append("wait")

        def elapsed_time(self, other: Event) -> float:
            return 2.5

    monkeypatch.setattr(torch, "get_device_module", lambda device: SimpleNamespace(Event=Event))
    with EventTimer(CUDA) as timer:
        told.append("work")
    assert timer.seconds() == pytest.approx(2.5e-3)
    assert told == ["record on current", "work", "record on current", "wait"]
    told.clear()
    with EventTimer(CUDA, "its own"):
        told.append("work")
    assert told == ["record on its own", "work", "record on its own"]


def test_a_flush_writes_more_than_a_cache_holds(monkeypatch):
    accelerators._flushed.cache_clear()
    monkeypatch.setattr(accelerators, "FLUSH_BYTES", 1000)
    flush_cache(CPU)
    assert accelerators._flushed(CPU).tolist() == [0] * 1000
    accelerators._flushed.cache_clear()


class Recorder:
    """Stands in for CUDA's graphs: what a recording called, a replay calls again on the same tensors."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, model: nn.Module) -> None:
        self.calls = self.replays = 0
        stream = SimpleNamespace(wait_stream=lambda other: None)
        monkeypatch.setattr(torch.cuda, "Stream", lambda: stream)
        monkeypatch.setattr(torch.cuda, "current_stream", lambda: stream)
        monkeypatch.setattr(torch.cuda, "stream", lambda stream: torch.no_grad())
        monkeypatch.setattr(torch.cuda, "graph", lambda recorded: torch.no_grad())
        monkeypatch.setattr(torch.cuda, "CUDAGraph", lambda: self)
        model.register_forward_hook(self._called)

    def _called(self, module: nn.Module, inputs: Any, output: torch.Tensor) -> None:
        self.calls += 1
        self._module, self._input, self._output = module, inputs[0], output

    def replay(self) -> None:
        self.replays += 1
        self._output.copy_(self._module[3](self._module[:3](self._input)))


def test_a_recording_is_made_once_and_replays_each_batch(monkeypatch):
    model = net()
    recorder = Recorder(monkeypatch, model)
    program = GraphProgram(RecordedModel(model), CPU, torch.float32)
    batches = torch.randn(3, 4, 3, 8, 8)
    outputs = [program.to_tensor(program(program.prepare(batch))).clone() for batch in batches]
    assert (recorder.calls, recorder.replays) == (4, 3)  # three to warm up, one to record
    assert torch.allclose(torch.stack(outputs), torch.stack([model(batch) for batch in batches]), atol=1e-6)


def test_a_recordings_kernels_are_named_by_the_operators_that_it_was_made_from(monkeypatch):
    model = net()
    Recorder(monkeypatch, model)
    program = GraphProgram(RecordedModel(model), CPU, torch.float32)
    assert "aten::addmm fp32" in program.kernels(program.prepare(torch.randn(4, 3, 8, 8)))


@pytest.mark.parametrize("backend", [CudaGraphs, TensorRt])
def test_what_only_serves_refuses_to_train(backend):
    with pytest.raises(TechniqueError, match="not support training"):
        backend().compile_step(net(), nn.functional.cross_entropy, OPTIMIZERS.default("sgd"), "fp32")


class InductorHere(CudaInductor):
    """The same code, on the device that every machine has."""

    device = CPU


@pytest.mark.skipif(hardware.without_cpp_compiler() is not None, reason="no C++ compiler")
def test_packages_for_a_gpu_are_lowered_loaded_and_proved_by_the_same_code(tmp_path):
    model, batch, numerics = net(), torch.randn(4, 3, 8, 8), Numerics(None, "fp32")
    with fp32_arithmetic("fp32"):
        InductorHere().lower(model, batch, numerics, [], tmp_path)
        program = InductorHere().load(tmp_path, net, numerics, 1)
    prepared = program.prepare(batch)
    assert torch.allclose(program.to_tensor(program(prepared)), net()(batch), atol=1e-5)
    assert "tensors of float32" in program.kernels(prepared)


def test_a_training_step_for_a_gpu_sets_fp32_before_it_compiles(ampere):
    ampere()
    InductorHere().compile_step(net(), nn.functional.cross_entropy, OPTIMIZERS.default("sgd"), "tf32")
    assert as_set() == ("tf32", "tf32")


def test_how_fp32_is_multiplied_is_recorded_as_it_is_set_at_that_time(ampere):
    ampere()
    with fp32_arithmetic("tf32"):
        found = describe_torch_cuda()
    assert found is not None and json.loads(json.dumps(found)) == found
    assert (found["fp32_matmul"], found["fp32_conv"]) == ("tf32", "tf32")
    assert "tf32" not in (describe_torch_cuda() or {}).values()


def test_an_amd_gpus_memory_is_read_and_nvml_is_not_asked(monkeypatch):
    for name in ("synchronize", "reset_peak_memory_stats", "max_memory_allocated", "max_memory_reserved"):
        monkeypatch.setattr(torch.cuda, name, lambda: 5)
    with GpuProbe("rocm") as probe:
        pass
    found = {entry.metric: entry for entry in probe.measurements()}
    peak, power = found["gpu_allocated_peak_bytes"], found["gpu_power_w"]
    assert (peak.value, peak.method) == (5, "ROCM allocator")
    assert power.value is None and "NVIDIA" in power.reason


ON_GPU = [
    pytest.param(backend, precision, id=f"cuda {backend.__name__} {precision}")
    for backend, obstacle in (
        (CudaGraphs, hardware.without_cuda),
        (CudaInductor, hardware.without_cuda_compiler),
        (TensorRt, hardware.without_tensorrt),
    )
    for precision in ("fp32", "tf32", "bf16", "fp16")
    if obstacle() is None
]


@pytest.mark.skipif(not ON_GPU, reason="no NVIDIA GPU")
@pytest.mark.parametrize(("backend", "precision"), ON_GPU)
def test_a_gpus_outputs_are_within_tolerance(tmp_path: Path, backend: Any, precision: str) -> None:
    batches, numerics = torch.randn(3, 8, 3, 8, 8), Numerics(None, precision)
    runtime = backend()
    runtime.lower(net(), batches[0], numerics, [], tmp_path)
    program = runtime.load(tmp_path, net, numerics, 1)
    for batch in batches:
        expected = net()(batch)
        output = program.to_tensor(program(program.prepare(batch)))
        error = ((output - expected).abs().max() / expected.abs().max()).item()
        assert error <= PRECISIONS[precision].relative_error
    assert program.kernels(program.prepare(batches[0]))
