"""Serves requests for texts that arrive as a Poisson process, and measures what holds the bounds."""

from __future__ import annotations

from pathlib import Path

import torch

from bench.instruments.request_load import (
    OneAtATime,
    RequestServer,
    ServedLoad,
    ThreadedArrivals,
    goodput,
    plan_requests,
    serve_requests,
)
from bench.records import Measurement, Request
from bench.stages.served_decoder import ServedDecoder
from bench.stages.settings import RequestsSettings
from bench.stages.timing import quantile_of
from techniques.backends.text_engine import TextEngine
from techniques.registry import CannotApply

MOST_TEXTS = 16
"""Texts that an engine works on at the same time; others wait."""

SMOKE_REQUESTS, SMOKE_TOKENS = 6, 4

SMOKE_RATE_PER_S = 100.0
"""The rate that a smoke run offers in place of each of the settings', under whose names it measures."""


def run(request: Request[RequestsSettings], folder: Path) -> list[Measurement]:
    """Offer each rate; measure goodput, the waits, and whether the load came as planned.

    Each launch draws arrivals and lengths of its own, so that intervals over launches have both in them. An
    engine that takes requests at any time works on several, another on one after the other. Raises
    CannotApply for lengths beyond what the model reads.
    """
    settings = request.settings
    served = ServedDecoder(request)
    longest = settings.prompt_tokens[1] + settings.new_tokens[1]
    if longest > served.window:
        raise CannotApply(
            f"prompt and new tokens are up to {longest}; {settings.workload} has {served.window}"
        )
    found: list[Measurement] = []
    with torch.inference_mode():
        engine = served.engine(MOST_TEXTS)
        _warm_up(served, engine, settings.prompt_tokens[1])
        server = engine if isinstance(engine, RequestServer) else OneAtATime(engine)
        for rate_per_s in settings.rates_per_s:
            found += _at_rate(served, server, settings, rate_per_s)
    means = [entry.value for entry in found if entry.metric == "request_s" and entry.value is not None]
    if means:
        found.append(Measurement("request_s", sum(means) / len(means), n=len(means)))
    return found


def _warm_up(served: ServedDecoder, engine: TextEngine, prompt: int) -> None:
    for _ in engine.stream(served.texts(1, prompt), SMOKE_TOKENS):
        pass


def _at_rate(
    served: ServedDecoder, server: RequestServer, settings: RequestsSettings, rate_per_s: float
) -> list[Measurement]:
    smoke, seed = served.request.smoke, served.request.round
    count = SMOKE_REQUESTS if smoke else settings.requests
    new = (1, SMOKE_TOKENS) if smoke else settings.new_tokens
    offered_per_s = SMOKE_RATE_PER_S if smoke else rate_per_s
    planned = plan_requests(offered_per_s, count, settings.prompt_tokens, new, seed)
    prompts = [served.texts(1, entry.prompt, number)[0] for number, entry in enumerate(planned)]
    try:
        load = serve_requests(server, ThreadedArrivals(planned), planned, prompts)
    except ValueError as error:
        return [Measurement("valid", 0.0, qualifier=_place(rate_per_s), reason=str(error))]
    found = measured(load, rate_per_s, settings.ttft_s, settings.tpot_s)
    return found[:-1] if smoke else found  # a load of so few and so short requests shows nothing


def measured(load: ServedLoad, rate_per_s: float, ttft_s: float, tpot_s: float) -> list[Measurement]:
    """Measure served requests of an offered rate.

    INVALID where Little's law does not hold within 2 %, and where requests came too late.
    """
    requests = load.requests
    found, place, n = goodput(load, ttft_s, tpot_s), _place(rate_per_s), len(requests)
    per_token = [request.tpot_s for request in requests if request.tpot_s is not None]
    bounds = f"first token within {1e3 * ttft_s:g} ms, {1e3 * tpot_s:g} ms for each later one"
    fault = found.fault
    total_s = [request.total_s for request in requests]
    return [
        Measurement("request_s", sum(total_s) / n, n=n, qualifier=place),
        Measurement("goodput_per_s", found.good_per_s, n=n, method=bounds, qualifier=place),
        Measurement("goodput_share", found.good_share, n=n, method=bounds, qualifier=place),
        *(
            quantile_of(name, [request.ttft_s for request in requests], quantile, place)
            for name, quantile in (("request_ttft_s", 0.5), ("request_ttft_p99_s", 0.99))
        ),
        *(
            quantile_of(name, per_token, quantile, place)
            for name, quantile in (("request_tpot_s", 0.5), ("request_tpot_p99_s", 0.99))
        ),
        Measurement("arrived_per_s", found.rate_per_s, n=n, qualifier=place),
        Measurement("requests_in_system", found.in_system, n=n, qualifier=place),
        Measurement("valid", float(not fault), qualifier=f"load {place}", reason=fault),
    ]


def _place(rate_per_s: float) -> str:
    return f"{rate_per_s:g}/s"
