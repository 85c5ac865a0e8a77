"""The page of workloads and data sets, from their rows."""

from __future__ import annotations

from bench.datasets import DATASETS
from bench.workloads import WORKLOADS, WorkloadRow
from docs.reference.markdown import assemble, code, codes, prose, table
from docs.reference.splits import SPLITS
from docs.reference.techniques import requires, settings_of

INTRODUCTION = """A workload is data, a model, a loss, a quality metric and a target that was fixed
beforehand. `train_steps` is the most that a training may take; `recover_steps` is how long a compression
step trains to recover; `student_steps` is how long a student trains. `"tuned"` as an optimizer stands for
the one in the table, which the target was measured with. The second table says how each target was found;
[Measuring](../measuring/index.md#training-efficiency) has the rule by which `bench targets` sets them."""


def page() -> str:
    """Return the page."""
    rows = list(WORKLOADS.rows().values())
    trained = [row for row in rows if row.complete and not row.inference_only]
    given = [row for row in rows if row not in trained]
    return assemble(
        "Workloads and data",
        INTRODUCTION,
        "## Workloads that train",
        table(("name", "what it is", "target", "optimizer", "requires"), map(_trained, trained)),
        table(("name", "target", "how it was found"), map(_target, trained)),
        table(
            (
                "name",
                "batch size",
                "train_steps",
                "recover_steps",
                "student_steps",
                "evaluations per epoch",
                "data sets",
            ),
            map(_budgets, trained),
        ),
        "## Their data\n\nSamples are those of training, validation and test. What a split keeps together is "
        "in one of the three.",
        table(
            ("name", "data sets", "licence", "split", "samples", "target"),
            (_data(row) for row in trained if row.name in SPLITS),
        ),
        "## Models of your own\n\nWrite `name:ARGUMENT,setting=value`. "
        "[Your own model](../guides/model.md) shows each of them.",
        table(
            ("name", "settings and defaults", "what it is", "requires"),
            ((code(row.name), settings_of(row), prose(row.about), requires(row)) for row in given),
        ),
        "## Data sets\n\n`bench data get NAME` fetches one and checks it against its SHA-256.",
        table(
            ("name", "size", "licence", "what it is"),
            (
                (
                    code(found.name),
                    f"{found.size_bytes / 1e6:.1f} MB",
                    prose(found.licence),
                    prose(found.about),
                )
                for found in DATASETS.values()
            ),
        ),
    )


def _trained(row: WorkloadRow) -> tuple[str, ...]:
    return (
        code(row.name),
        prose(row.about),
        f"{code(row.quality_metric)} ≥ {row.target:g}",
        code(row.optimizer),
        requires(row),
    )


def _data(row: WorkloadRow) -> tuple[str, ...]:
    split = SPLITS[row.name]
    licences = dict.fromkeys(DATASETS[name].licence for name in row.datasets)
    return (
        code(row.name),
        codes(row.datasets),
        prose("; ".join(licences)),
        prose(split.how),
        " + ".join(f"{count:,}" for count in split.samples),
        f"{code(row.quality_metric)} ≥ {row.target:g}",
    )


def _target(row: WorkloadRow) -> tuple[str, str, str]:
    return code(row.name), f"{row.target:g}", prose(row.target_basis)


def _budgets(row: WorkloadRow) -> tuple[str, ...]:
    counts = (
        row.batch_size,
        row.train_steps,
        row.recover_steps,
        row.student_steps,
        row.evaluations_per_epoch,
    )
    return code(row.name), *map(str, counts), codes(row.datasets)
