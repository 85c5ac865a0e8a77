"""The reference has all that the code has: every option, key, metric, technique and workload."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from bench import datasets
from bench.datasets import DATASETS
from bench.errors import DataError
from bench.metrics import METRICS
from bench.plan.stages import SMOKE_TEST_SAMPLES
from bench.workloads import WORKLOADS
from bench.workloads.loading import load_workload
from docs.reference import python
from docs.reference.commands import find_commands, own_options
from docs.reference.matrix import sections
from docs.reference.protocols import entry_point_groups
from docs.reference.splits import SPLITS
from reports.frames.columns import TABLES
from reports.frames.record_columns import RECORDS
from techniques.backends import BACKENDS
from techniques.compression import COMPRESSIONS
from techniques.optimizers import OPTIMIZERS
from techniques.precisions import PRECISIONS
from techniques.registry import Registry, Row, load_reference
from tests.support.pages import PAGES_FOLDER, ROOT, blocks

BUNDLED = ("digits", "diabetes-mlp", "breast-cancer-mlp")
"""Workloads whose data come with a package that is installed."""


@pytest.fixture
def page(site: Path):
    return lambda name: (site / "reference" / f"{name}.md").read_text()


def section(text: str, heading: str) -> str:
    """Return what stands below a heading, up to the next heading."""
    _, _, rest = text.partition(f"\n{heading}\n")
    assert rest, heading
    return rest.partition("\n#")[0]


def test_every_command_is_there_with_every_option(page):
    assert all(f"`{word}`" in page("commands") for option in own_options() for word in option.opts)
    for _, name, command in find_commands():
        text = section(page("commands"), f"### bench {name}")
        for parameter in command.params:
            if getattr(parameter, "hidden", False):
                continue
            words = parameter.opts if parameter.param_type_name == "option" else [parameter.name.upper()]
            assert all(word in text for word in words), (name, words)


def test_every_section_of_a_matrix_is_there_with_every_key(page):
    for name, model in sections():
        listed = {"cross": "[[cross]]", "limits": "[[limits]]"}
        heading = {"peaks": "[peaks.DEVICE]", **listed}.get(name, f"[{name}]")
        text = section(page("matrix"), f"## {heading}")
        assert all(f"| `{key}` |" in text for key in model.model_fields), name


def test_the_bounds_and_defaults_of_a_key_are_there(page):
    text = section(page("matrix"), "## [budget]")
    assert "| `target_interval` | number | `0.05` | > 0, ≤ 1 |" in text
    assert "| `max_launches` | integer | `10` | 1, 3, 6, 10, 20 or more |" in text


def test_every_metric_is_there(page):
    built_in = [
        name for name in METRICS if METRICS.is_built_in(name)
    ]  # others may be of other tests' plug-ins
    assert not [name for name in built_in if f"| `{name}` |" not in page("metrics")]


def test_every_technique_is_there_with_its_settings(page):
    text = page("techniques")
    for name, row in {**OPTIMIZERS.rows(), **COMPRESSIONS.rows()}.items():
        lines = [line for line in text.splitlines() if line.startswith(f"| `{name}` |")]
        assert any(all(f"`{key}=" in line for key in row.defaults) for line in lines), name
    for name, backend in BACKENDS.rows().items():
        assert all(f"`{format_}`" in section(text, f"### {name}") for format_ in backend.formats)
    assert all(f"| `{name}` |" in text for name in PRECISIONS)


def test_every_workload_and_data_set_is_there(page):
    assert all(f"| `{name}` |" in page("workloads") for name in (*WORKLOADS.rows(), *DATASETS))


def own_workloads() -> list[str]:
    """Return the workloads that come with the suite and train; others may be of other tests' plug-ins."""
    rows = WORKLOADS.rows().values()
    ours = [row for row in rows if row.implementation.startswith("bench.workloads.")]
    return [row.name for row in ours if row.complete and not row.inference_only]


def test_every_workload_has_a_row_with_its_data_licence_split_samples_and_target(page):
    text = section(page("workloads"), "## Their data")
    names = own_workloads()
    assert len(names) > 20 and set(names) == set(SPLITS)
    for name in names:
        row = WORKLOADS.get(name)
        (line,) = [line for line in text.splitlines() if line.startswith(f"| `{name}` |")]
        assert all(f"`{data}`" in line and DATASETS[data].licence in line for data in row.datasets)
        assert SPLITS[name].how in line and f"`{row.quality_metric}` ≥ {row.target:g} |" in line


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=() if name in BUNDLED else pytest.mark.slow)
        for name in SPLITS
        if "llama-22m" not in name
    ],
)
def test_a_workload_has_as_many_samples_as_its_row_says(name):
    for part in WORKLOADS.get(name).datasets:
        try:
            if datasets.locate(part) is None:
                pytest.skip(f"{part} is not here")
        except DataError as error:
            pytest.skip(str(error))
    _, data = load_workload(name)
    assert data.validation is not None
    found = len(data.train_inputs), len(data.validation.inputs), len(data.test_inputs)
    assert found == SPLITS[name].samples
    if WORKLOADS.get(name).quality_metric == "auc":
        for targets in (data.validation.targets, data.test_targets):
            assert len(set(targets[:SMOKE_TEST_SAMPLES].tolist())) == 2


def test_every_target_says_how_it_was_found(page):
    found = ("By the rule", "By hand", "By one training", "By trainings", "Not measured")
    trained = [row for row in WORKLOADS.rows().values() if row.complete and not row.inference_only]
    for row in trained:
        assert row.target_basis.startswith(found), row.name
        assert f"| `{row.name}` | {row.target:g} | {row.target_basis} |" in page("workloads")


def test_the_columns_that_measure_returns_are_there(page):
    assert {"cell", "latency_s", "quality", "artifact_bytes"} <= set(python.columns())
    assert all(f"| `{name}` |" in page("python") for name in python.columns())


def test_every_table_is_there_with_its_columns_their_units_and_what_they_are(page):
    text = page("tables")
    assert all(f"\n### {name}\n" in text for name in (*TABLES, *RECORDS))
    assert "| `latency_s` | s | median time of one batch, single stream |" in text
    rows = re.findall(r"^\| `(\w+)` \|[^|]*\| (.*) \|$", text, re.MULTILINE)
    assert len(rows) > 300 and not [column for column, what in rows if not what.strip()]


def test_what_a_plug_in_implements_is_there(page):
    text = page("protocols")
    for word in (
        "def lower",
        "def load",
        "def recover",
        "def prepare",
        "quality_metric",
        "fork_safe",
        "finish",
    ):
        assert word in text, word


def test_every_entry_point_group_is_there_and_is_read_by_the_code(page):
    sources = "".join(
        path.read_text()
        for part in ("bench", "techniques", "reports")
        for path in (ROOT / part).rglob("*.py")
    )
    found = set(re.findall(r"(?:group|entry_points)=\"(bench\.\w+)\"", sources))
    assert found == set(entry_point_groups())
    assert all(f"`{group}`" in page("protocols") for group in found)


def test_the_example_of_an_entry_point_adds_a_row(page, tmp_path):
    project, code = list(blocks(page("protocols")))[:2]
    (reference,) = tomllib.loads(project.text)["project"]["entry-points"]["bench.optimizers"].values()
    module, _, function = reference.partition(":")
    assert code.title == module.replace(".", "/") + ".py"
    (tmp_path / "rows.py").write_text(code.text)
    table = Registry("optimizer", Row, entry_points="none.of.these")
    load_reference(f"{tmp_path / 'rows.py'}:{function}")(table)
    assert "signum" in table.rows()


def test_every_shipped_matrix_is_in_the_first_page_about_runs():
    shipped = {path.stem for path in (ROOT / "bench" / "matrices").glob("*.toml")}
    text = (PAGES_FOLDER / "start" / "first-run.md").read_text()
    assert shipped == set(re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE))


def test_every_kind_of_stage_is_in_the_architecture_and_the_glossary():
    kinds = {path.stem for path in (ROOT / "bench" / "stages").glob("*.py") if "def run(" in path.read_text()}
    architecture = (PAGES_FOLDER / "architecture" / "index.md").read_text()
    glossary = (PAGES_FOLDER / "architecture" / "glossary.md").read_text()
    assert kinds == set(re.findall(r"^\| `(\w+)` \|", architecture, re.MULTILINE))
    assert all(f"`{kind}`" in section_of(glossary, "stage") for kind in kinds)


def section_of(glossary: str, word: str) -> str:
    """Return the line of the glossary about a word."""
    (line,) = [line for line in glossary.splitlines() if line.startswith(f"| **{word}** |")]
    return line


def test_every_package_of_the_suite_is_in_the_architecture():
    text = (PAGES_FOLDER / "architecture" / "index.md").read_text()
    for folder in sorted(path.parent for path in (ROOT / "bench").glob("*/__init__.py")):
        assert f"`bench/{folder.name}/`" in text, folder.name
