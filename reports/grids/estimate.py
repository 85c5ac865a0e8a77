"""A projection as tables for people: the model, a step, memory, time and cost, serving, device counts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from bench.formatting import at_least, format_value, three_digits
from bench.projection.amounts import Range, write_amount
from bench.projection.cost import Cost
from bench.projection.estimate import Estimate
from bench.projection.serving import Serving
from reports.grids.cell import UNKNOWN, Entry
from reports.grids.grid import Grid

Rows = Iterable[tuple[str, str, str]]

_SPANS = ((365.25 * 86400, "years"), (86400.0, "days"), (3600.0, "h"), (60.0, "min"))
_MAX_NAMED = 3


def estimate_grids(found: Estimate) -> list[Grid]:
    """Return the tables of a projection."""
    grids = [
        _grid("model", f"{found.model}", _model(found)),
        _grid("step", _step_title(found), _flops(found)),
        _grid("memory", f"Memory of one device: {found.device}", _memory(found)),
        _grid("time", f"Time and cost on {_devices(found.devices)}", _time(found)),
        _grid("serving", _serving_title(found.serving), _serving(found.serving, found)),
    ]
    return [*grids, _counts(found)] if found.counts else grids


def _grid(name: str, title: str, rows: Rows, columns: Sequence[str] = ("what", "value", "")) -> Grid:
    return Grid(name, title, tuple(columns), tuple(tuple(Entry(text) for text in row) for row in rows))


def _devices(count: int) -> str:
    return "1 device" if count == 1 else f"{count:,} devices"


def _model(found: Estimate) -> Rows:
    yield "parameters", write_amount(found.parameters), f"{found.parameters:,}"
    if found.active_parameters != found.parameters:
        yield "active parameters", write_amount(found.active_parameters), "those that a token meets"
    optimal = found.optimal
    if optimal is not None:
        yield "compute-optimal tokens", write_amount(optimal.tokens), optimal.source
        yield "  expected loss", f"{optimal.optimal_loss:.2f} nats", "a token, on their data"
    if optimal is not None and found.tokens and optimal.loss and optimal.parameters_for_budget:
        share = found.tokens / optimal.tokens
        yield "tokens at hand", write_amount(found.tokens), f"{three_digits(share)}× the optimal ones"
        yield "  expected loss", f"{optimal.loss:.2f} nats", "a token, on their data"
        yield (
            "  best size for these FLOPs",
            f"{write_amount(optimal.parameters_for_budget)} parameters",
            "trained with as many tokens as are optimal for it",
        )


def _step_title(found: Estimate) -> str:
    again = ", checkpointing" if found.checkpointing else ""
    return f"Training step: batch {found.batch}, {found.precision}, {found.optimizer}{again}"


def _flops(found: Estimate) -> Rows:
    flops = found.flops
    mark = at_least if flops.unknown else str
    yield "forward FLOPs", mark(_flop_text(flops.forward)), ""
    yield "backward FLOPs", mark(_flop_text(flops.backward)), ""
    if flops.recomputed:
        yield "recomputed FLOPs", mark(_flop_text(flops.recomputed)), "done again in the backward pass"
    if flops.unknown:
        yield "not counted", f"{len(flops.unknown)} operators", ", ".join(flops.unknown[:_MAX_NAMED])
    if found.steps and flops.training:
        amount = found.tokens or found.samples or 0.0
        yield "steps", write_amount(found.steps), f"{write_amount(amount)} {found.unit}"
        yield "training FLOPs", mark(f"{flops.training:.3g}"), "forward and backward, all steps"
    if flops.six_n_d is not None and flops.six_n_d_error is not None:
        share = f"{100 * flops.six_n_d_error:+.1f} % of the exact count"
        yield "  by 6 N D", f"{flops.six_n_d:.3g}", share


def _flop_text(flops: float) -> str:
    return format_value("dense_flops", flops) if flops < 1e15 else f"{flops:.3g}"


def _memory(found: Estimate) -> Rows:
    memory = found.memory
    for name, size in vars(memory.device).items():
        if size:
            share = f"{100 * size / max(1, memory.total_bytes):.0f} %"
            yield name.replace("_", " "), _bytes(size), share
    fits = "fits" if memory.fits else "does not fit"
    yield "all", _bytes(memory.total_bytes), f"of {_bytes(memory.available_bytes)}: {fits}"
    yield (
        "largest micro-batch",
        str(memory.largest_micro_batch) if memory.largest_micro_batch else "none",
        (f"here {found.micro_batch}, split {found.parallel}"),
    )


def _bytes(size: float) -> str:
    return format_value("peak_tensor_bytes", size)


def _time(found: Estimate) -> Rows:
    step = found.step
    shares = _pair(100 * step.utilization_low, 100 * step.utilization_high)
    used = f"{shares} % of the {step.number} peak"
    yield "a step", _span(step.seconds), used
    if step.transfers_s:
        yield "  transfers", span_text(step.transfers_s), "at the links' peak"
    if step.bubble:
        yield "  pipeline bubble", f"{100 * step.bubble:.0f} %", "of the time a stage waits"
    if found.training_s:
        yield "training", _span(found.training_s), ""
        days = found.training_s.times(found.devices / 86400)
        yield "device-days", _pair(days.low, days.high), ""
    yield from _cost(found.cost, "the training" if found.training_s else "a step")


def _cost(cost: Cost | None, of_what: str) -> Rows:
    if cost is None:
        return
    if cost.energy_j is not None:
        hours = cost.energy_j.times(1 / 3.6e6)
        yield "energy", f"{_pair(hours.low, hours.high)} kWh", of_what
    if cost.money is not None:
        yield "money", f"{_pair(cost.money.low, cost.money.high)} {cost.currency}", cost.method
    elif cost.method:
        yield "money", UNKNOWN, cost.method


def _serving_title(own: Serving) -> str:
    if own.prompt is None:
        return f"Serving: batch {own.batch} on {_devices(own.devices)}"
    return (
        f"Serving: {own.batch} texts of {own.prompt} tokens, {own.new_tokens} new ones, on "
        f"{_devices(own.devices)}"
    )


def _serving(own: Serving, found: Estimate) -> Rows:
    whole = "prompt" if own.prompt is not None else "answer"
    yield f"{whole} FLOPs", _flop_text(own.prefill_flops), ""
    yield f"time to {'first token' if own.prompt is not None else 'answer'}", _span(own.first_s), ""
    if own.decode_flops is not None and own.token_s is not None and own.tokens_per_s is not None:
        yield "FLOPs of a further token", _flop_text(own.decode_flops), "of all texts"
        yield "time per output token", _span(own.token_s), ""
        yield "tokens/s", _pair(own.tokens_per_s.low, own.tokens_per_s.high), "of all texts"
    if own.cache_bytes_per_token is not None:
        yield "cache", _bytes(own.memory.cache), f"{_bytes(own.cache_bytes_per_token)} a token of a text"
    yield "weights", _bytes(own.memory.weights), ""
    yield "working memory", _bytes(own.memory.working), ""
    if own.memory.fragmentation:
        yield "fragmentation", _bytes(own.memory.fragmentation), ""
    fits = "fits" if own.fits else "does not fit"
    yield "all", _bytes(own.total_bytes), f"of {_bytes(found.memory.available_bytes)}: {fits}"
    yield "largest batch", str(own.largest_batch) if own.largest_batch else "none", ""
    yield from _cost(_of_thousand(own), f"1,000 {'texts' if own.prompt is not None else 'samples'}")


def _of_thousand(own: Serving) -> Cost | None:
    """Return the cost of a thousand texts or samples, in batches as they are served."""
    if own.cost is None:
        return None
    energy, money = (
        None if each is None else each.times(1000 / own.batch) for each in (own.cost.energy_j, own.cost.money)
    )
    return replace(own.cost, energy_j=energy, money=money)


def _counts(found: Estimate) -> Grid:
    rows = [
        (
            f"{own.devices:,}",
            own.parallel,
            _bytes(own.memory_bytes) + ("" if own.fits else ", does not fit"),
            _span(own.step.seconds),
            _span(own.training_s) if own.training_s else UNKNOWN,
        )
        for own in found.counts
    ]
    columns = ("devices", "split", "memory of one", "a step", "training")
    return Grid(
        "counts",
        "Over device counts",
        columns,
        tuple(tuple(Entry(text) for text in row) for row in rows),
    )


def _pair(low: float, high: float) -> str:
    texts = three_digits(low), three_digits(high)
    return texts[0] if texts[0] == texts[1] else " to ".join(texts)


def _span(seconds: Range) -> str:
    """Write a range of time, in the unit of its greater end."""
    for size, name in _SPANS:
        if seconds.high >= 2 * size:
            return f"{_pair(seconds.low / size, seconds.high / size)} {name}"
    texts = format_value("latency_s", seconds.low), format_value("latency_s", seconds.high)
    return texts[0] if texts[0] == texts[1] else " to ".join(texts)


def span_text(seconds: float) -> str:
    """Write a time, up to years."""
    return _span(Range(seconds, seconds))
