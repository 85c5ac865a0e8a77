"""Which edits of our own code make which stages anew: what does the work, and nothing else."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import bench
from bench import datasets, digests
from bench.matrix.reading import read_matrix
from bench.plan.keys import make_key
from bench.plan.planner import make_plan
from bench.stages import STAGES
from bench.workloads import WORKLOADS
from techniques.backends import BACKENDS
from techniques.compression import COMPRESSIONS
from techniques.optimizers import OPTIMIZERS
from techniques.regime import AVERAGES, CLIPS, SCHEDULES
from techniques.registry import split_reference

ROOT = Path(bench.__file__).parents[1]


@pytest.fixture
def edit(monkeypatch: pytest.MonkeyPatch):
    """Return a function that gives the file of a module another digest, as an edit of its code does."""

    def of(module: str) -> None:
        original = digests.file_digest
        path = ROOT / f"{module.replace('.', '/')}.py"
        assert path.is_file(), module
        changed = lambda asked: "edited" if Path(asked) == path else original(asked)  # noqa: E731
        monkeypatch.setattr(digests, "file_digest", changed)

    return of


def key_of(kind: str, *references: str) -> str:
    return make_key(kind, {}, {}, [STAGES.get(kind).run, *references], "cpu")


SHIPPED = [row for row in WORKLOADS.rows().values() if row.complete]


@pytest.mark.parametrize("row", SHIPPED, ids=lambda row: row.name)
def test_a_shipped_workload_is_trained_again_when_its_code_or_its_data_sets_code_changes(row, edit):
    module = split_reference(row.implementation)[0]
    loads = [datasets.get(name).load for name in row.datasets]
    before = key_of("train", row.implementation, *loads)
    for place in [module, *(split_reference(load)[0] for load in loads), "bench.models.training"]:
        with pytest.MonkeyPatch.context() as patch:
            original, path = digests.file_digest, ROOT / f"{place.replace('.', '/')}.py"
            patch.setattr(
                digests, "file_digest", lambda asked, p=path, o=original: "x" if asked == p else o(asked)
            )
            assert key_of("train", row.implementation, *loads) != before, place


TECHNIQUES = [
    (table.axis, row)
    for table in (OPTIMIZERS, SCHEDULES, CLIPS, AVERAGES, COMPRESSIONS, BACKENDS)
    for row in table.rows().values()
    if row.implementation.startswith("techniques.")
]


@pytest.mark.parametrize(("axis", "row"), TECHNIQUES, ids=[f"{axis}-{row.name}" for axis, row in TECHNIQUES])
def test_a_technique_works_anew_when_its_code_changes_and_not_when_the_progress_bar_does(axis, row, edit):
    kind = {"compression": "compress", "backend": "lower"}.get(axis, "train")
    before = key_of(kind, row.implementation)
    edit("bench.execution.progress")
    edit("bench.workloads.recommendation")
    edit("reports.prose.verdict")
    assert key_of(kind, row.implementation) == before
    edit(split_reference(row.implementation)[0])
    assert key_of(kind, row.implementation) != before


NO_PART_OF_A_STAGE = (
    *(
        "bench.cli",
        "bench.commands",
        "bench.costs.model",
        "bench.commands.listing",
        "bench.matrix.reading",
        "bench.plan.planner",
    ),
    *(
        "bench.execution.progress",
        "bench.regression.verdict",
        "bench.execution.runner",
        "bench.execution.preparation",
        "bench.execution.session",
        "bench.results.store.store",
    ),
    *("bench.analysis.summary", "bench.formatting", "bench.workloads.given", "reports.write"),
)


@pytest.mark.parametrize("module", NO_PART_OF_A_STAGE)
@pytest.mark.parametrize("kind", ["train", "teach", "compress", "lower", "evaluate", "step", "infer"])
def test_what_only_plans_or_shows_a_run_is_no_part_of_its_stages(module: str, kind: str):
    assert module not in digests.closure(f"bench.stages.{kind}")


def test_one_workloads_code_is_no_part_of_anothers(edit):
    matrix = read_matrix("quick", "workload=digits,optimizer=adam,batch_size=1")

    def trainings() -> set[str]:
        return {stage.key for stage in make_plan(matrix, 2).of_kind("train")}

    before = trainings()
    edit("bench.workloads.text_classification")
    edit("bench.datasets.wordnet")
    assert before and trainings() == before
    edit("bench.datasets.digits")
    assert not trainings() & before


@pytest.mark.parametrize("kind", ["train", "compress"])
def test_another_optimizers_code_and_library_are_no_part_of_the_first_ones_stages(kind: str):
    used = digests.closure(f"bench.stages.{kind}")
    own = {"torch_optim", "second_order", "row", "search"}  # what builds and tunes every optimizer
    found = {name for name in used if name.startswith("techniques.optimizers")}
    assert found <= {f"techniques.optimizers.{name}" for name in own}
    libraries = digests.library_versions([f"bench.stages.{kind}", "torch.optim"])
    assert not libraries.keys() & {"pytorch_optimizer", "pytorch-optimizer", "schedulefree"}


def test_a_row_that_is_added_leaves_the_keys_of_the_others(monkeypatch: pytest.MonkeyPatch):
    matrix = read_matrix("quick")

    def keys() -> set[str]:
        return set(make_plan(matrix, 2).stages)

    before = keys()
    monkeypatch.setattr(OPTIMIZERS, "_rows", dict(OPTIMIZERS.rows()))
    OPTIMIZERS.add("another", "techniques.optimizers.muon:build", about="Another", defaults={"lr": 0.1})
    assert keys() == before


def test_comments_and_layout_are_no_part_of_a_files_digest(tmp_path: Path):
    file = tmp_path / "code.py"
    file.write_text("def f():\n    return 1\n")
    before = digests.file_digest(file)
    file.write_text("# says nothing\ndef f(  ):\n\n    return  1  # one\n")
    assert digests.file_digest(file) == before
    file.write_text("def f():\n    return 2\n")
    assert digests.file_digest(file) != before


def test_a_file_that_is_written_anew_has_another_digest_in_the_same_process(tmp_path: Path):
    file = tmp_path / "weights.bin"
    file.write_bytes(b"old")
    before = digests.file_digest(file)
    file.write_bytes(b"new")
    assert digests.file_digest(file) != before


def test_what_is_no_python_after_all_is_known_by_its_bytes(tmp_path: Path):
    file = tmp_path / "odd.py"
    file.write_text("def (")
    before = digests.file_digest(file)
    file.write_text("def )")
    assert digests.file_digest(file) != before


@pytest.mark.parametrize(
    ("module", "library"),
    [
        ("techniques.compression.channels", "torch-pruning"),
        ("techniques.compression.lora", "peft"),
        ("techniques.backends.onnx_runtime", "onnxruntime"),
        ("techniques.backends.openvino_runtime", "openvino"),
        ("techniques.optimizers.pytorch_optimizer_classes", "pytorch_optimizer"),
        ("techniques.optimizers.schedule_free", "schedulefree"),
        ("bench.workloads.text_encoder", "transformers"),
    ],
)
def test_the_libraries_of_a_technique_are_those_that_its_code_imports(module: str, library: str):
    assert library in digests.library_versions([module])
    assert library not in digests.library_versions(["techniques.compression.pruning"])


def test_another_version_of_a_library_makes_what_uses_it_anew(monkeypatch: pytest.MonkeyPatch):
    channels, pruning = "techniques.compression.channels:x", "techniques.compression.pruning:x"
    before = key_of("compress", channels), key_of("compress", pruning)
    original = digests.version_of
    other = lambda name: "0.0.1" if name == "torch-pruning" else original(name)  # noqa: E731
    monkeypatch.setattr(digests, "version_of", other)
    assert key_of("compress", channels) != before[0]
    assert key_of("compress", pruning) == before[1]


def test_every_import_of_ours_is_followed():
    names = {name for path in ROOT.glob("techniques/**/*.py") for name in digests.imported_names(path)}
    for name in names:
        assert not name.startswith("bench"), "techniques know nothing of bench"
    text = "import a.b\nfrom c import d\nif TYPE_CHECKING:\n    import e\ndef f():\n    from .g import h\n"
    found = list(digests._names(digests._statements(ast.parse(text), lazily=True)))
    assert found == ["a.b", "c", "c.d", ".g", ".g.h"]
    assert list(digests._names(digests._statements(ast.parse(text), lazily=False))) == ["a.b", "c", "c.d"]


def test_packages_are_those_of_the_distributions_that_hold_them():
    import importlib.metadata

    theirs = importlib.metadata.packages_distributions()
    for package in ("torch", "sklearn", "numpy", "bench", "pytest"):
        assert sorted(digests._distributions()[package]) == sorted(theirs[package])
