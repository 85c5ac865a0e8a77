"""Finds the highest rate of Poisson arrivals that a lowered model serves within a p99 bound."""

from __future__ import annotations

import itertools
import tempfile
from importlib.util import find_spec
from pathlib import Path
from statistics import median

from bench.formatting import three_digits
from bench.instruments import clock
from bench.instruments.arrivals import HALVINGS, MIN_ARRIVALS, Offered, highest_rate, offer_rate
from bench.records import Measurement, Request
from bench.stages.inputs import load_backend, load_lowered, parent_folder, rotating_batches
from bench.stages.settings import ServeSettings
from bench.workloads.loading import load_workload
from techniques.backends.protocol import sparing_inputs
from techniques.registry import CannotApply

SMOKE_ARRIVALS = 100


def run(request: Request[ServeSettings], folder: Path) -> list[Measurement]:
    """Measure the highest rate within the bound, and its p99."""
    if find_spec("mlperf_loadgen") is None:
        raise CannotApply(
            "the server scenario needs mlcommons-loadgen: pip install 'dl-efficiency-bench[server]'"
        )
    settings = request.settings
    workload, data = load_workload(settings.workload, settings.test_samples)
    backend = load_backend(settings)
    lowered = parent_folder(request, "lowered")
    program = load_lowered(backend, lowered, settings, request.threads)
    batches = rotating_batches(workload, data, settings.batch_size)
    program = sparing_inputs(program, batches[0])
    turn = itertools.cycle([program.prepare(batch) for batch in batches]).__next__

    def call() -> None:
        program(turn())
        backend.synchronize()

    clock.warm_up(call)
    latency_s = median(clock.sample(call, seconds=0.2).durations_s)
    bound_s = settings.p99_s
    bound = Measurement("server_bound_s", bound_s)
    if latency_s > bound_s:
        return [
            bound,
            *_unknown(f"a batch alone takes {three_digits(1e3 * latency_s)} ms, longer than the bound"),
        ]
    with tempfile.TemporaryDirectory() as logs:
        place = Path(logs)

        def offer(rate_per_s: float) -> Offered:
            arrivals = SMOKE_ARRIVALS if request.smoke else MIN_ARRIVALS
            return offer_rate(call, rate_per_s, bound_s, settings.seconds, place, arrivals)

        best, least = highest_rate(offer, 1 / latency_s, 1 if request.smoke else HALVINGS)
    return [bound, *_measured(best, least, latency_s, bound_s)]


def _measured(best: Offered | None, least: Offered, latency_s: float, bound_s: float) -> list[Measurement]:
    method = f"MLPerf's load generator, of {three_digits(1 / latency_s)} batches a second without waiting"
    if best is None:
        over = (
            "over the bound" if least.p99_s > bound_s else f"not shown to hold by {least.arrivals} arrivals"
        )
        p99 = f"the p99 is {three_digits(1e3 * least.p99_s)} ms"
        return _unknown(f"even at {three_digits(least.rate_per_s)} a second {p99}, {over}")
    return [
        Measurement("server_rate_per_s", best.rate_per_s, n=best.arrivals, method=method),
        Measurement("server_p99_s", best.p99_s, n=best.arrivals, method=method),
    ]


def _unknown(reason: str) -> list[Measurement]:
    return [Measurement(name, None, reason=reason) for name in ("server_rate_per_s", "server_p99_s")]
