"""The plan: each stage once, shared by all cells that need it, keyed by all that decides it."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from dataclasses import replace

import pytest

from bench.digests import Sources
from bench.matrix.reading import read_matrix
from bench.plan import keys
from bench.plan.planner import make_plan
from bench.workloads.table import WORKLOADS
from techniques.backends import hardware

ON_CPU = "workload=fashion-mnist-simplecnn,backend=cpu-inductor,optimizer=adam,batch_size=1,precision=fp32"
ON_CUDA = ON_CPU.replace("cpu-inductor", "cuda-eager")


@pytest.fixture(scope="module")
def quick():
    return make_plan(read_matrix("quick"), cpus=2)


def test_each_training_is_planned_once_however_many_cells_share_it(quick):
    assert len(quick.of_kind("train")) == 3
    assert len(quick.cells) == 45
    assert len(quick.of_kind("step")) == 3


def test_stages_cost_their_sum_not_their_product(quick):
    counts = Counter(stage.kind for stage in quick.stages.values())
    # 3 trainings x (finetune, prune); x 14 pairs of (recipe, backend); timings are shared by structure.
    timed = {"ceilings": 1, "step": 3, "infer": 8}
    assert counts == {"train": 3, "compress": 6, "lower": 42, "evaluate": 42, **timed}


def test_parents_come_before_their_children(quick):
    seen: set[str] = set()
    for stage in quick.stages.values():
        assert set(stage.parents) <= seen
        seen.add(stage.key)


def test_a_recipes_prefix_is_shared():
    cells = read_matrix("full", ON_CPU).cells
    chosen = [cell for cell in cells if cell.compression.startswith("prune-magnitude:")]
    assert {cell.compression for cell in chosen} == {"prune-magnitude:0.5", "prune-magnitude:0.5+int8-static"}
    matrix = replace(read_matrix("full"), cells=tuple(chosen))
    assert len(make_plan(matrix, cpus=2).of_kind("compress")) == 1


def planned(folder, compressions: str):
    """Plan one training with these compressions on one backend, from a matrix file."""
    file = folder / "some.toml"
    file.write_text(
        f'[train]\nworkload = "digits"\noptimizer = "adam"\n'
        f'[infer]\ncompression = {compressions}\nbackend = "cpu-eager"\n'
    )
    return make_plan(read_matrix(str(file)), cpus=2)


def plan_of(folder, infer: str, budget: str = "", compression: str = "none"):
    """Plan one training with what stands in these sections."""
    file = folder / "some.toml"
    file.write_text(
        f'[train]\nworkload = "digits"\noptimizer = "adam"\n'
        f'[infer]\ncompression = "{compression}"\n{infer}\n[budget]\nmax_launches = 1\n{budget}\n'
    )
    return make_plan(read_matrix(str(file)), cpus=2)


def test_a_budget_may_evaluate_on_a_part_of_the_test_set_and_shares_all_else(tmp_path):
    whole = plan_of(tmp_path, 'backend = "cpu-eager"')
    part = plan_of(tmp_path, 'backend = "cpu-eager"', "evaluate_samples = 100")
    (own,), (other,) = whole.of_kind("evaluate"), part.of_kind("evaluate")
    assert (own.request.settings["test_samples"], other.request.settings["test_samples"]) == (None, 100)
    assert own.key != other.key
    assert whole.stages.keys() - {own.key} == part.stages.keys() - {other.key}


def test_a_setting_of_training_is_none_of_serving_and_a_layout_is_one_of_both(tmp_path):
    plan = plan_of(tmp_path, 'backend = ["cpu-eager:accumulate=2", "cpu-eager:channels_last=true"]')
    reasons = [cell.skipped for cell in plan.cells]
    assert "accumulate is a setting of training" in reasons[0] and reasons[1] == ""
    (infer,) = plan.of_kind("infer")
    assert infer.request.settings["backend"] == "cpu-eager:channels_last=true"


def test_a_precision_that_a_formats_kernel_has_not_is_skipped_with_those_it_has(tmp_path):
    infer = 'backend = "cpu-eager"\nprecision = ["fp32", "bf16"]'
    fp32, bf16 = plan_of(tmp_path, infer, compression="int8-weight").cells
    assert fp32.skipped == "cpu-eager's kernel for int8-weight computes in bf16, not in fp32"
    assert bf16.skipped == ""


def test_caches_are_flushed_where_it_is_asked_for(tmp_path):
    for budget, flushed in (("", False), ("flush_cache = true", True)):
        plan = plan_of(tmp_path, 'backend = "cpu-eager"', budget)
        assert [stage.request.settings["flush_cache"] for stage in plan.of_kind("infer")] == [flushed]


def test_a_server_imports_what_loading_an_exported_program_needs(tmp_path):
    program = tmp_path / "model.pt2"
    program.touch()
    (tmp_path / "given.toml").write_text(
        f'[train]\nworkload = "exported:{program}"\noptimizer = "none"\n'
        '[infer]\ncompression = "none"\nbackend = "cpu-eager"\n'
    )
    plan = make_plan(read_matrix(str(tmp_path / "given.toml")), cpus=2)
    assert all(
        "torch._export.serde.serialize" in stage.request.server_imports
        for stage in plan.stages.values()
        if stage.kind != "ceilings"
    )


@pytest.mark.parametrize("workload", ["huggingface:encoder", "shakespeare-gpt2", "rotten-tomatoes-minilm"])
def test_a_server_imports_what_models_of_transformers_load_late(tmp_path, workload):
    if obstacle := WORKLOADS.get(workload.partition(":")[0]).unavailable():
        pytest.skip(obstacle)
    (tmp_path / "some.toml").write_text(
        f'[train]\nworkload = "{workload}"\noptimizer = "tuned"\n'
        '[infer]\ncompression = "none"\nbackend = "cpu-eager"\n'
    )
    plan = make_plan(read_matrix(str(tmp_path / "some.toml")), cpus=2)
    assert plan.of_kind("infer")
    assert all(
        "transformers.modeling_utils" in stage.request.server_imports
        for stage in plan.stages.values()
        if stage.kind != "ceilings"
    )


def test_a_teacher_is_asked_once_for_all_its_students(tmp_path):
    plan = planned(tmp_path, '["distill:0.5", "distill:0.25", "distill:0.5,temperature=2", "student:0.5"]')
    assert len(plan.of_kind("teach")) == 1
    assert len(plan.of_kind("compress")) == 4
    teacher = plan.of_kind("teach")[0]
    assert sum(teacher.key in stage.parents for stage in plan.of_kind("compress")) == 3


def test_a_compressed_model_can_be_a_teacher_and_comes_before_its_students(tmp_path):
    plan = planned(tmp_path, '["prune-mean:1+distill:0.5"]')
    assert [stage.kind for stage in plan.stages.values()][:4] == ["train", "compress", "teach", "compress"]


def test_models_of_one_structure_are_timed_once_and_all_others_apart(tmp_path):
    plan = planned(
        tmp_path,
        '["none", "distill:0.5", "student:0.5", "student:0.25", "prune-channels:0.5", "prune-mean:1"]',
    )
    labels = {stage.label for stage in plan.of_kind("infer")}
    assert labels == {
        f"digits {structure} @ cpu-eager b1"
        for structure in ("dense", "student:0.5", "student:0.25", "prune-channels:0.5")
    }


def test_masked_pruning_is_timed_with_the_dense_model_it_runs_as(quick):
    timed = {
        cell.stages["infer"]
        for cell in quick.cells
        if cell.axes["backend"] == "onnxruntime" and cell.axes["compression"] in ("none", "prune-mean:1")
    }
    assert len(timed) == 1


def test_a_pair_without_a_kernel_is_skipped_with_its_reason(quick):
    assert len(quick.skipped) == 3
    for cell in quick.skipped:
        assert (cell.axes["backend"], cell.axes["compression"]) == ("cpu-eager", "int8-static")
        assert "no kernel" in cell.skipped


def test_a_workload_without_data_is_skipped_with_its_reason():
    plan = make_plan(read_matrix("ci"), cpus=2, problems={"digits": "no data"})
    assert {cell.skipped for cell in plan.cells} == {"no data"}
    assert not plan.stages


def test_labels_are_unique_so_that_a_baseline_can_go_by_them():
    for name in ("quick", "full", "ci", "article"):
        stages = make_plan(read_matrix(name), cpus=2).stages.values()
        assert len({(stage.kind, stage.label) for stage in stages}) == len(stages)


def test_smoke_plans_the_same_stages_with_two_steps():
    plan = make_plan(read_matrix("quick"), cpus=2, smoke=True)
    assert len(plan.stages) == len(make_plan(read_matrix("quick"), cpus=2).stages)
    assert {stage.request.settings["steps"] for stage in plan.of_kind("train")} == {2}


@pytest.fixture
def gpu(nvml, monkeypatch):
    """A machine where CUDA runs; NVML answers as recorded."""
    monkeypatch.setattr(hardware, "without_cuda", lambda: None)
    keys.device_kind.cache_clear()
    yield nvml
    keys.device_kind.cache_clear()


def test_stages_on_a_gpu_get_a_process_of_their_own_there(gpu):
    plan = make_plan(read_matrix("full", ON_CUDA), cpus=2)
    assert {cell.skipped for cell in plan.skipped} == {
        "cuda-eager has no kernel for int8-static: PyTorch has no eager int8 static kernels on CUDA",
        "cuda-eager's kernel for int4-weight computes in bf16, not in fp32",
        "cuda-eager's kernel for sparse-2-4 computes in bf16, fp16, not in fp32",
    }
    for stage in plan.stages.values():
        on_gpu = stage.kind in ("lower", "evaluate", "infer") or stage.label == "ceilings of cuda"
        assert (stage.request.device, stage.request.fork_safe) == (
            ("cuda", False) if on_gpu else ("cpu", True)
        )


def test_another_gpu_lowers_and_times_anew_but_shares_what_the_cpu_trained(gpu):
    cells = read_matrix("full", ON_CUDA)
    before = make_plan(cells, cpus=2).stages
    gpu.boards = ["NVIDIA H200"]
    keys.device_kind.cache_clear()
    shared = {stage.kind for key, stage in make_plan(cells, cpus=2).stages.items() if key in before}
    assert shared == {"train", "teach", "compress", "step", "ceilings"}  # the CPU's


def test_the_kind_of_a_gpu_is_its_name_and_among_several_kinds_the_choice_too(gpu, monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(keys, "deciding_variables", dict)
    gpu.boards = ["NVIDIA H100 80GB HBM3"] * 2
    assert keys.device_kind("cuda", 2) == "cuda: NVIDIA H100 80GB HBM3"
    gpu.boards = ["NVIDIA A100", "Tesla T4"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    keys.device_kind.cache_clear()
    assert keys.device_kind("cuda", 2) == "cuda: NVIDIA A100 | Tesla T4, visible 1"


def key(**changes: object) -> str:
    arguments = {
        "kind": "train",
        "settings": {"lr": 0.1},
        "parents": {},
        "references": ["torch.optim:SGD"],
        "device": "cpu",
    }
    return keys.make_key(**(arguments | changes))  # type: ignore[arg-type]


def test_a_key_is_the_same_for_the_same_work():
    assert key() == key()


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "step"},
        {"settings": {"lr": 0.2}},
        {"parents": {"model": "0" * 64}},
        {"references": ["techniques.compression.pruning:prune_mean"]},
        {"device": "cuda"},
    ],
)
def test_a_key_changes_with_all_that_decides_the_work(change):
    assert key(**change) != key()


def test_a_key_made_of_prepared_parts_is_the_hash_of_the_whole_content() -> None:
    content = {
        "kind": "lower",
        "settings": {"workload": "digits", "batch_size": 1, "format": None},
        "parents": {"model": "a" * 64},
        "sources": {},
        "libraries": Sources().versions(["torch"]),
        "device": "cpu: x86, 2 cores",
    }
    whole = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    made = keys.make_key(
        "lower",
        {"workload": "digits", "batch_size": 1, "format": None},
        {"model": "a" * 64},
        [],
        "cpu: x86, 2 cores",
        ["torch"],
    )
    assert made == whole
