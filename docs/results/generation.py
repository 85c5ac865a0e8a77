"""The page of the matrix `generation`: how fast engines continue texts, and what narrower caches cost."""

from __future__ import annotations

from typing import Any

from bench.formatting import format_value, three_digits
from docs.reference.markdown import code, table
from docs.results.measured import Measured, Row, assemble, groups, model_of, not_measured
from reports.frames.generation import OWN_CACHE
from reports.frames.view import records
from reports.grids.cell import UNKNOWN

CSV = "generation.csv"


def page(measured: Measured) -> str:
    """Return the page."""
    rows = records(measured.frames["generation"])
    good = [row for row in rows if row["state"] == "ok"]
    parts = [_of_workload(workload, own) for workload, own in groups(good, "workload")]
    return assemble(
        "Generation by a language model",
        measured,
        "Times are medians over batches and launches, with 95 % intervals over launches. The first token of "
        "a text is not divided by the texts beside it; the prompt's pass is no part of the later tokens. "
        f"[{CSV}](../examples/{CSV}) has all lengths and numbers of texts. "
        "[Generate text](../guides/generation.md) defines the columns.",
        _clocks(good),
        *parts,
        not_measured(
            (_engine(row), str(row["reason"] or row["state"])) for row in rows if row["state"] != "ok"
        ),
    )


def _of_workload(workload: str, rows: list[dict[str, Any]]) -> str:
    prompt = max(row["prompt_tokens"] or 0 for row in rows)
    longest = [row for row in rows if (row["prompt_tokens"] or 0) == prompt]
    texts = sorted({row["concurrency"] for row in longest})
    shown = [row for row in longest if row["concurrency"] in (texts[0], texts[-1])]
    title = f"## {model_of(workload)}, prompts of {prompt} tokens"
    parts = [
        title,
        _fastest(shown, texts),
        _times(shown),
        _costs([row for row in longest if not row["draft"]]),
    ]
    return "\n\n".join(filter(None, parts))


def _fastest(rows: list[dict[str, Any]], texts: list[int]) -> str:
    alone = [row for row in rows if row["concurrency"] == texts[0] and row["tpot_s"] is not None]
    together = [row for row in rows if row["concurrency"] == texts[-1] and row["tokens_per_s"] is not None]
    if not alone or not together:
        return ""
    soonest = min(alone, key=lambda row: float(row["tpot_s"]))
    most = max(together, key=lambda row: float(row["tokens_per_s"]))
    return (
        f"A single text gets its tokens soonest from {_engine(soonest)}: {_time(soonest, 'tpot')} each. "
        f"{texts[-1]} texts get the most in total from {_engine(most)}: "
        f"{format_value('tokens_per_s', most['tokens_per_s'])}."
    )


def _engine(row: Row) -> str:
    own = "" if row["cache"] == OWN_CACHE else f", cache in {row['cache']}"
    draft = f", draft {code(row['draft'])}" if row["draft"] else ""
    return f"{code(row['backend'])} in {row['precision']}{own}{draft}"


def _times(rows: list[dict[str, Any]]) -> str:
    header = ("engine", "texts", "first token", "per output token", "tokens/s in total", "memory's speed")
    lines = [
        (
            _engine(row),
            str(row["concurrency"]),
            _time(row, "ttft"),
            _time(row, "tpot"),
            _interval(row, "tokens_per_s", ""),
            UNKNOWN if row["decode_share"] is None else f"{100 * row['decode_share']:.0f} %",
        )
        for row in rows
    ]
    return table(header, lines)


def _time(row: Row, name: str) -> str:
    return _interval(row, name, "_s")


def _interval(row: Row, name: str, unit: str) -> str:
    """Write a value with its interval over launches, where it has one."""
    metric, value = f"{name}{unit}", row[f"{name}{unit}"]
    low, high = row[f"{name}_low{unit}"], row[f"{name}_high{unit}"]
    if value is None:
        return UNKNOWN
    bounds = f" ({format_value(metric, low)} to {format_value(metric, high)})" if low and high else ""
    return f"{format_value(metric, value)}{bounds}"


def _costs(rows: list[dict[str, Any]]) -> str:
    """Return a table of what each cache keeps and gives away, once for an engine and precision."""
    kept = {(row["backend"], row["precision"], row["cache"]): row for row in reversed(rows)}
    header = ("engine", "cache, bytes/token", "divergence, nats", "same tokens", "held-out loss, nats")
    lines = [
        (
            _engine(row),
            _number(row["cache_bytes_per_token"]),
            _number(row["generation_kl"]),
            UNKNOWN
            if row["generation_agreement"] is None
            else format_value("generation_agreement", row["generation_agreement"]),
            _number(row["generation_nats"]),
        )
        for row in reversed(kept.values())
    ]
    return table(header, lines)


def _number(value: Any) -> str:
    return UNKNOWN if value is None else three_digits(float(value))


def _clocks(rows: list[dict[str, Any]]) -> str:
    """Say how far an engine's own clock is from ours, for the engines that have one."""
    lines = []
    for backend, own in groups(rows, "backend"):
        apart = {
            what: [
                float(row[f"engine_{name}_s"]) / float(row[f"{name}_s"]) - 1
                for row in own
                if row[f"engine_{name}_s"] is not None and row[f"{name}_s"] and not row["draft"]
            ]
            for name, what in (("ttft", "the first token"), ("tpot", "each later one"))
        }
        told = [f"{what} {_span(found)}" for what, found in apart.items() if found]
        if told:
            lines.append(f"By its own clock {code(backend)} takes, against ours: {'; '.join(told)}.")
    return " ".join(lines)


def _span(found: list[float]) -> str:
    low, high = f"{100 * min(found):+.1f}", f"{100 * max(found):+.1f}"
    return f"{low} to {high} %"
