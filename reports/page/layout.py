"""Where each table and each figure stands on the page, and which of a table's columns show at first."""

from __future__ import annotations

from dataclasses import dataclass, field

MAX_PICTURE_BYTES = 1_500_000
"""Bytes of pictures inside the page: further ones are named, they are in the folder `plots` beside it."""

SHOWN_OF_OTHERS = 9
"""Columns that show at first in a table that has no entry in `TABLES`."""

AXES = {
    "optimizer": "optimizer",
    "compression": "compression",
    "recipe": "compression",
    "backend": "backend",
    "class": "class",
}
"""Heading of a column → what choosing one of its values highlights on the whole page."""

TRAINING_AXES = {"optimizer": "optimizer"}
"""The same in tables of trainings, whose backend is not the one that serves."""


@dataclass(frozen=True)
class Table:
    """How a table shows at first.

    `shown` are headings of columns, `axes` is as `AXES`.
    """

    shown: tuple[str, ...]
    axes: dict[str, str] = field(default_factory=lambda: AXES)


@dataclass(frozen=True)
class Section:
    """A section of the page: its tables by the grids' names, charts of the page, and figures by their names.

    A name that ends with `*` stands for all that begin so.
    """

    name: str
    title: str
    about: str
    tables: tuple[str, ...] = ()
    charts: tuple[str, ...] = ()
    figures: tuple[str, ...] = ()


TABLES = {
    "optimizers": Table(
        (
            *("workload", "optimizer", "seeds that reached the target", "steps to target"),
            *("time to target", "step time", "final quality"),
        ),
        axes=TRAINING_AXES,
    ),
    "training": Table(
        (
            *("workload", "optimizer", "seed", "state", "steps to target"),
            *("time to target: steps × step time", "step time", "final quality", "peak tensor memory"),
        ),
        axes=TRAINING_AXES,
    ),
    "inference": Table(
        (
            *("workload", "optimizer", "compression", "backend", "precision", "batch", "seed", "state"),
            *("Pareto", "quality", "quality loss (pts)", "latency", "speedup vs none on cpu-eager"),
            "size on disk",
        ),
    ),
    "tradeoff": Table(
        (
            *("workload", "compression", "backend", "precision", "batch", "quality loss vs none (pts)"),
            *("gain vs control (pts)", "latency", "speedup vs none, same backend", "size on disk", "why"),
        ),
    ),
    "compression": Table(
        (
            *("workload", "optimizer", "seed", "recipe", "step", "state", "quality before"),
            *("right after the step", "after recovery", "gain vs control (pts)", "steps trained"),
        ),
    ),
    "runtimes": Table(
        (
            *("workload", "backend", "format", "precision", "batch", "state", "speedup vs eager fp32"),
            *("latency", "quality", "cosine", "size on disk", "lowering"),
        ),
    ),
    "generation": Table(
        (
            *("workload", "compressions", "backend", "cache", "draft", "concurrent texts", "state"),
            *("first token", "time per output token", "tokens/s in total", "energy per token"),
        ),
    ),
    "requests": Table(
        (
            *("workload", "compressions", "backend", "state", "offered", "goodput", "within the bounds"),
            *("first token since due", "first token p99", "time per output token", "per token p99"),
        ),
    ),
    "steps": Table(
        (
            *("workload", "optimizer", "variant", "step time", "data time", "forward time"),
            *("backward time", "optimizer time", "% of peak (MFU)", "peak tensor memory"),
        ),
        axes=TRAINING_AXES,
    ),
    "memory": Table(
        (
            *("stage", "workload", "optimizer", "compressions", "backend", "batch"),
            *("peak tensor memory", "peak resident memory", "resident growth"),
        ),
    ),
    "fidelity": Table(
        (
            *("workload", "cell", "metric", "quality", "loss vs none, same items (pts)", "p"),
            *("items lost", "items won", "calibration error (ECE)", "groups that lose"),
        ),
    ),
    "groups": Table(
        ("workload", "cell", "column", "group", "items", "loss vs none (pts)", "q"),
    ),
    "failed": Table(("stage", "state", "reason", "count", "names")),
    "unreadable": Table(("stage", "reason", "count", "names")),
    "skipped": Table(("stage", "state", "reason", "count", "names")),
    "environment": Table(("what", "value")),
}

SECTIONS = (
    Section(
        "training",
        "Training",
        "What each optimizer took to reach the target. The target is fixed before the run; a training that "
        "never held it is censored, not dropped.",
        ("optimizers", "training", "sensitivity-*"),
        ("curves", "target", "profile", "sensitivity"),
        ("training-curves-*", "time-to-target-*", "sensitivity-*", "performance-profile*"),
    ),
    Section(
        "inference",
        "Inference",
        "What each cell costs to serve, beside the quality of that very artifact on that very backend.",
        ("inference", "generation", "requests"),
        ("quality-latency", "latency"),
        ("quality-latency-*", "latencies-*", "pareto-fronts-*"),
    ),
    Section(
        "compression",
        "Compression",
        "What each compression costs in quality and saves in time and size, against the uncompressed model "
        "on the same backend and against a control that trains as long.",
        ("tradeoff", "compression"),
        ("loss-speedup", "quality-cost"),
        ("quality-size-*", "quality-*"),
    ),
    Section(
        "backends",
        "Backends",
        "The matrix at a glance, what is skipped and failed included, then the same model in each runtime.",
        ("runtimes", "not-run"),
        ("matrix",),
        ("matrix-*",),
    ),
    Section(
        "resources",
        "Where time and memory go",
        "The parts of a training step, what its memory holds, which ceiling of the machine binds, and what "
        "the run itself took.",
        ("steps", "memory", "overhead", "estimate"),
        ("parts", "memory", "roofline"),
        ("step-parts-*", "memory-*", "roofline-*", "operators-*", "estimate"),
    ),
    Section(
        "who-pays",
        "Who pays",
        "An average hides who loses: classes, groups of the test data, corrupted items.",
        ("classes", "fidelity", "groups", "gaps", "robustness", "attributions"),
        ("classes",),
        ("who-pays-*", "layers-*"),
    ),
    Section(
        "problems",
        "Skipped or failed, and why",
        "Nothing is dropped silently: what did not run, what failed, and the reason of each.",
        ("failed", "unreadable", "skipped"),
    ),
    Section(
        "environment",
        "Environment and validity",
        "The machine, its libraries, and whether the limits of the matrix are kept.",
        ("limits", "environment"),
    ),
)

REST = "environment"
"""The section of what no section names: tables and figures of plug-ins."""


def section_of(name: str, what: str) -> str:
    """Return the section of a table or figure (`what` is `tables` or `figures`); empty if none names it."""
    for section in SECTIONS:
        for pattern in getattr(section, what):
            if name == pattern or (pattern.endswith("*") and name.startswith(pattern[:-1])):
                return section.name
    return ""


def is_drawn(figure: str) -> bool:
    """Say whether the page draws a figure itself, so that it needs no picture of it."""
    drawn = (
        *("training-curves-", "time-to-target-", "quality-latency-", "quality-size-", "step-parts-"),
        *("latencies-", "matrix-", "roofline-", "memory-", "who-pays-", "pareto-fronts-"),
        *("sensitivity-", "performance-profile"),
    )
    return figure.startswith(drawn)
