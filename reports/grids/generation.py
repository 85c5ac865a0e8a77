"""The table of text generation for people."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from reports.grids.cell import Column, keys, metric, plain, state, timing, with_bounds
from reports.grids.grid import Grid, build_grid

GENERATION: tuple[Column, ...] = (
    ("workload", plain("workload")),
    ("compressions", plain("compressions")),
    ("backend", plain("backend")),
    ("precision", plain("precision")),
    ("cache", plain("cache")),
    ("draft", plain("draft")),
    ("prompt", plain("prompt_tokens")),
    ("new tokens", plain("new_tokens")),
    ("concurrent texts", plain("concurrency")),
    ("state", state),
    ("reason", plain("reason")),
    ("first token", timing("ttft", "ttft_s")),
    ("time per output token", timing("tpot", "tpot_s")),
    ("next token", timing("inter_token", "inter_token_s")),
    ("next token p99", timing("inter_token_p99", "inter_token_p99_s")),
    ("tokens/s in total", with_bounds(metric("tokens_per_s"), "tokens_per_s")),
    ("of the memory's speed", metric("decode_share")),
    ("first token by the engine", metric("engine_ttft_s")),
    ("per token by the engine", metric("engine_tpot_s")),
    ("draft accepted", metric("draft_acceptance")),
    ("energy per token", metric("energy_per_token_j")),
    ("cache per token", metric("cache_bytes_per_token")),
    ("divergence from eager fp32", metric("generation_kl")),
    ("same tokens as eager fp32", metric("generation_agreement")),
    ("held-out loss", metric("generation_nats")),
    ("held-out loss by the engine", metric("engine_nats")),
    ("peak resident memory", metric("peak_rss_bytes")),
    ("resident growth", metric("rss_growth_bytes")),
    ("record", keys("stage_key")),
)


REQUESTS: tuple[Column, ...] = (
    ("workload", plain("workload")),
    ("compressions", plain("compressions")),
    ("backend", plain("backend")),
    ("precision", plain("precision")),
    ("state", state),
    ("reason", plain("reason")),
    ("offered", metric("offered_per_s", "arrived_per_s")),
    ("came", metric("arrived_per_s")),
    ("goodput", with_bounds(metric("goodput_per_s"), "goodput", "goodput_per_s")),
    ("within the bounds", metric("goodput_share")),
    ("first token since due", timing("request_ttft", "request_ttft_s")),
    ("first token p99", timing("request_ttft_p99", "request_ttft_p99_s")),
    ("bound on first tokens", metric("ttft_bound_s", "request_ttft_s")),
    ("time per output token", timing("request_tpot", "request_tpot_s")),
    ("per token p99", timing("request_tpot_p99", "request_tpot_p99_s")),
    ("bound on later tokens", metric("tpot_bound_s", "request_tpot_s")),
    ("in the system", metric("requests_in_system")),
    ("record", keys("stage_key")),
)


def generation_grids(frames: Mapping[str, pd.DataFrame]) -> list[Grid]:
    """Return the tables of the frames `generation` and `requests`, none where the run generated nothing."""
    if "generation" not in frames:
        return []
    found = [build_grid("generation", "Generation", GENERATION, frames["generation"])]
    if "requests" in frames:
        found.append(build_grid("requests", "Requests for texts", REQUESTS, frames["requests"]))
    return found
