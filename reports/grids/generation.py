"""The table of text generation for people."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from reports.grids.cell import Column, keys, metric, plain, state, within_launch
from reports.grids.grid import Grid, build_grid

GENERATION: tuple[Column, ...] = (
    ("workload", plain("workload")),
    ("compressions", plain("compressions")),
    ("backend", plain("backend")),
    ("precision", plain("precision")),
    ("cache", plain("cache")),
    ("concurrent texts", plain("concurrency")),
    ("state", state),
    ("reason", plain("reason")),
    ("first token", within_launch("ttft")),
    ("next token", within_launch("inter_token")),
    ("next token p99", within_launch("inter_token_p99")),
    ("tokens/s in total", metric("tokens_per_s")),
    ("cache per token", metric("cache_bytes_per_token")),
    ("divergence by the cache", metric("cache_kl")),
    ("same tokens as with its own", metric("cache_agreement")),
    ("record", keys("stage_key")),
)


def generation_grids(frames: Mapping[str, pd.DataFrame]) -> list[Grid]:
    """Return the table of the frame `generation`, none where the run generated nothing."""
    if "generation" not in frames:
        return []
    return [build_grid("generation", "Generation", GENERATION, frames["generation"])]
