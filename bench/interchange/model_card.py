"""The model card of an exported cell: how to run it, what it takes and gives, and its record."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent
from typing import Any

from bench.analysis.comparable import machine_name
from bench.formatting import (
    counted,
    escape_markdown,
    format_interval,
    format_points,
    format_value,
    three_digits,
    visible,
)
from bench.metrics import metric_named
from bench.models.files import load_outputs
from bench.results.store import CellRow, Store
from bench.stages.served_cell import ServedCell
from reports.frames.break_even import NEVER
from reports.frames.inference import inference_table
from reports.frames.view import RunView, read, records
from reports.frames.why import twin_of
from techniques.backends.exports import Export
from techniques.compression import parse_recipe
from techniques.registry import TechniqueError

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Card:
    """What a card is made of. `shape` and `dtype` are those of the input, `outputs` the outputs' shapes.

    `command` repeats the measurements. In a fresh process outputs differed by `difference` at most.
    """

    store: Store
    run_id: str
    cell: CellRow
    folder: Path
    served: ServedCell
    export: Export
    command: str
    shape: tuple[int, ...]
    dtype: str
    outputs: Sequence[tuple[int, ...]]
    difference: float
    tolerance: float


def card_text(card: Card) -> str:
    """Return the card, in Markdown."""
    view = read(card.store, card.run_id)
    rows = records(inference_table(view))
    row = next(entry for entry in rows if entry["cell"] == card.cell.name)
    compression, backend = str(row["compression"]), str(row["backend"])
    what = "uncompressed" if compression == "none" else compression
    lines = [
        f"# {visible(str(row['workload']))}: {what}, for {backend}",
        "",
        *_running(card),
        *_taking(card),
        "## Record",
        "",
        "| | |",
        "|---|---|",
        *(f"| {name} | {escape_markdown(text)} |" for name, text in _record(card, view, row, rows)),
        "",
        "## Compressed by",
        "",
        *_recipe(compression),
        "",
        "## Measure it again",
        "",
        "```sh",
        visible(card.command),
        "```",
        "",
    ]
    return "\n".join(lines)


def _running(card: Card) -> Iterator[str]:
    yield from ("## Run it", "", "```sh", f"pip install numpy {' '.join(card.export.packages)}")
    yield from ("python run.py", "```", "")
    same = "bit for bit" if not card.difference else f"within {card.difference:.2g}"
    yield (
        "`run.py` runs the model on `input.npy`, and compares its outputs with `outputs.npz`, those of the "
        f"benchmark. In a fresh process on the machine that exported it they were the same {same} "
        f"(tolerance {card.tolerance:.2g}). Its files: "
        f"{', '.join(f'`{name}`' for name in card.export.files)}. {card.export.note}"
    ).rstrip()
    yield ""


def _taking(card: Card) -> Iterator[str]:
    workload = card.served.workload
    yield from ("## Input", "")
    yield f"- Shape {card.shape}, {card.dtype}; the first number is the batch size, which is fixed."
    yield "- `raw.npy` holds the same samples as they are stored, before preprocessing."
    if workload.preprocessing:
        yield f"- Preprocessing: {workload.preprocessing}."
    else:
        yield from ("- Preprocessing, as the workload's code has it:", "", "```python")
        yield from (_source(workload.transform), "```")
    yield from ("", "## Output", "")
    kind = load_outputs(card.folder).kind
    of_kind = f": {kind.text}" if kind is not None else ""
    yield f"- {', '.join(f'Shape {shape}' for shape in card.outputs)}{of_kind}."
    if workload.classes:
        labels = ", ".join(f"{number} {label}" for number, label in enumerate(workload.classes))
        yield f"- Labels by number: {labels}."
    yield ""


def _source(transform: object) -> str:
    """Return the source of a workload's `transform`, or its name where there is none."""
    try:
        return dedent(inspect.getsource(transform)).strip()  # type: ignore[arg-type]
    except (OSError, TypeError):
        return f"# {visible(repr(transform))}"


def _record(card: Card, view: RunView, row: Row, rows: Sequence[Row]) -> Iterator[tuple[str, str]]:
    yield from _qualities(card, row)
    latency = format_interval("latency_s", row["latency_s"], row["latency_low_s"], row["latency_high_s"])
    launches = int(row["latency_launches"] or 0)
    wide = ", preliminary" if row["latency_preliminary"] else ""
    yield f"latency of a batch of {row['batch_size']}", f"{latency}, {counted(launches, 'launch')}{wide}"
    twin = twin_of(row, rows)
    if twin is not None and twin["cell"] != row["cell"]:
        ratio = view.latency_ratio(str(twin["infer_key"]), str(row["infer_key"]))
        if ratio is not None and ratio.low is not None and ratio.high is not None:
            bounds = f" ({three_digits(ratio.low)} to {three_digits(ratio.high)})"
            yield "speed, uncompressed on the same backend: 1", f"{three_digits(ratio.value)}×{bounds}"
    yield "pays after", _break_even(row)
    for name in ("artifact_bytes", "parameters", "nonzero_parameters", "dense_flops", "peak_rss_bytes"):
        if row[name] is not None:
            yield metric_named(name).label, format_value(name, row[name])
    if row["money_per_million"] is not None:
        yield "cost of a million samples", f"{three_digits(row['money_per_million'])}, {row['money_method']}"
    yield "precision", str(row["precision"])
    yield "state", f"{row['state']} {row['reason'] or ''}".strip()
    yield from _origin(card, view, row)


def _qualities(card: Card, row: Row) -> Iterator[tuple[str, str]]:
    metric, value = str(row["quality_metric"] or "quality"), row["quality"]
    label = metric_named(metric).label
    samples = len(card.served.data.test_targets)
    interval = proportion(value, samples) if metric == "accuracy" and card.served.workload.classes else None
    text = format_value("quality", value)
    if interval is not None:
        low, high = (format_value("quality", bound) for bound in interval)
        text += f" ({low} to {high}, 95 %, Wilson)"
    yield f"quality: {label}", f"{text}, {counted(samples, 'test sample')}"
    if row["quality_loss_points"] is not None:
        against = f"against {row['quality_reference']}" if row["quality_reference"] else ""
        yield "quality lost (points)", f"{format_points(row['quality_loss_points'])} {against}".strip()


def proportion(value: float | None, samples: int) -> tuple[float, float] | None:
    """Return Wilson's 95 % interval of a share of so many samples (Wilson 1927); None where it is unknown."""
    from scipy.stats import binomtest

    if value is None or samples < 1 or not 0 <= value <= 1:
        return None
    found = binomtest(round(value * samples), samples).proportion_ci(method="wilson")
    return float(found.low), float(found.high)


def _break_even(row: Row) -> str:
    verdict, value = str(row["break_even_verdict"] or ""), row["break_even_inferences"]
    if value is None:
        return verdict if verdict.startswith(NEVER) else "–"
    return f"{format_value('break_even_inferences', value)} inferences, in time"


def _origin(card: Card, view: RunView, row: Row) -> Iterator[tuple[str, str]]:
    environment = _environment(card, row)
    libraries = environment.get("libraries") or {}
    packages = [name for name in card.export.packages if libraries.get(name)]
    yield "machine", machine_name(environment)
    yield "libraries", ", ".join(f"{name} {libraries[name]}" for name in packages) or "–"
    axes = {name: value for name, value in card.cell.axes.items() if name not in ("compression", "backend")}
    yield "trained", ", ".join(f"{name} {value}" for name, value in axes.items())
    yield "run", f"{card.run_id}, cell {card.cell.name}"


def _environment(card: Card, row: Row) -> Mapping[str, Any]:
    """Return where the cell was timed."""
    launches = card.store.launches(card.run_id)
    own = launches[launches["stage_key"] == str(row["infer_key"] or "")]["environment_id"]
    environments = card.store.environments(card.run_id)
    return next((environments[id_] for id_ in own if id_ in environments), {})


def _recipe(compression: str) -> Iterator[str]:
    try:
        techniques = parse_recipe(compression).techniques
    except TechniqueError:  # of a plug-in that is not loaded now
        yield f"`{compression}`"
        return
    if not techniques:
        yield "Nothing: this is the model as it was trained."
    for number, technique in enumerate(techniques, 1):
        yield f"{number}. `{technique.text}`: {technique.row.about}"
