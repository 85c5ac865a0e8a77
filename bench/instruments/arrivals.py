"""The server scenario: batches arrive as a Poisson process and wait their turn.

MLPerf's load generator makes the arrivals, clocks each from when it was due to its answer, and judges by its
early stopping whether so many answers show the percentile (Reddi et al. 2020, "MLPerf Inference Benchmark").
"""

from __future__ import annotations

import json
import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

MIN_ARRIVALS = 1000
"""Fewer barely show a 99th percentile: early stopping needs 459 with none over the bound, more otherwise."""

HALVINGS = 6

MIN_LOAD = 1 / 8
"""Share of the capacity below which no rate is tried: arrivals would take too long."""


@dataclass(frozen=True)
class Offered:
    """What came of one rate: seconds from arrival to answer, whether the p99 was shown to hold its bound."""

    rate_per_s: float
    arrivals: int
    p50_s: float
    p99_s: float
    holds: bool


def highest_rate(
    offer: Callable[[float], Offered], capacity_per_s: float, halvings: int = HALVINGS
) -> tuple[Offered | None, Offered]:
    """Halve between nothing and the capacity; return the highest rate that held, and the lowest tried.

    At the capacity itself the queue grows without end, so that bound is never tried.
    """
    low, high = 0.0, capacity_per_s
    best: Offered | None = None
    least = offer(capacity_per_s / 2)
    found = least
    for _ in range(halvings - 1):
        if found.holds:
            low, best = found.rate_per_s, found
        else:
            high = found.rate_per_s
        if high <= MIN_LOAD * capacity_per_s:
            break
        found = offer((low + high) / 2)
        least = min(least, found, key=lambda offered: offered.rate_per_s)
    return (found if found.holds else best), least


def offer_rate(
    call: Callable[[], object],
    rate_per_s: float,
    bound_s: float,
    seconds: float,
    folder: Path,
    arrivals: int = MIN_ARRIVALS,
) -> Offered:
    """Offer one rate to `call`, which answers one batch at a time; the generator's logs go to `folder`.

    The generator is MLPerf's LoadGen, in its server scenario. Raises what `call` raises, once all that
    arrived has been dismissed.
    """
    import mlperf_loadgen as loadgen

    waiting: queue.SimpleQueue[int | None] = queue.SimpleQueue()

    def issue(arrived: list[loadgen.QuerySample]) -> None:
        for one in arrived:
            waiting.put(one.id)

    errors: list[Exception] = []

    def answer() -> None:
        while (number := waiting.get()) is not None:
            try:
                if not errors:
                    call()
            except Exception as error:  # the generator waits for every answer
                errors.append(error)
            loadgen.QuerySamplesComplete([loadgen.QuerySampleResponse(number, 0, 0)])

    server = threading.Thread(target=answer)
    server.start()
    system = loadgen.ConstructSUT(issue, lambda: None)
    library = loadgen.ConstructQSL(1, 1, lambda _: None, lambda _: None)
    logs = loadgen.LogSettings()
    logs.log_output.outdir = str(folder)
    logs.log_output.copy_summary_to_stdout = False
    settings = _settings(rate_per_s, bound_s, seconds, arrivals)
    try:
        loadgen.StartTestWithLogSettings(system, library, settings, logs)
    finally:
        waiting.put(None)
        server.join()
        loadgen.DestroyQSL(library)
        loadgen.DestroySUT(system)
    if errors:
        raise errors[0]
    return read_offered(folder / "mlperf_log_detail.txt", rate_per_s, bound_s)


def _settings(rate_per_s: float, bound_s: float, seconds: float, arrivals: int) -> object:
    import mlperf_loadgen as loadgen

    settings = loadgen.TestSettings()
    settings.scenario = loadgen.TestScenario.Server
    settings.mode = loadgen.TestMode.PerformanceOnly
    settings.server_target_qps = rate_per_s
    settings.server_target_latency_ns = round(bound_s * 1e9)
    settings.server_target_latency_percentile = 0.99
    settings.min_duration_ms = round(seconds * 1e3)
    settings.min_query_count = arrivals
    return settings


def read_offered(log: Path, rate_per_s: float, bound_s: float) -> Offered:
    """Read the load generator's detailed log: a line of JSON for each of its results.

    Raises OSError where there is no log, KeyError where it lacks a result.
    """
    results = {}
    for line in log.read_text().splitlines():
        if line.startswith(":::MLLOG "):
            entry = json.loads(line.removeprefix(":::MLLOG "))
            results[entry["key"]] = entry["value"]
    p99_s = results["result_99.00_percentile_latency_ns"] / 1e9
    shown = bool(results.get("early_stopping_met", results.get("result_perf_constraints_met")))
    return Offered(
        rate_per_s,
        int(results["result_query_count"]),
        results["result_50.00_percentile_latency_ns"] / 1e9,
        p99_s,
        shown and p99_s <= bound_s,
    )
