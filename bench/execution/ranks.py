"""Runs a stage on several devices: starts its ranks by PyTorch's elastic agent, and judges how they ended."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from bench.execution.endings import FROM_OUTSIDE, read_result
from bench.execution.kernel import count_oom_kills
from bench.processes import how_it_ended
from bench.records import Request, Result, State, as_json

_MONITOR_S = 0.1
"""How often the agent looks whether a rank has ended."""

_GRACE_S = 5
"""How long ranks have to end after one was lost, before they are killed."""

_OF_A_CONNECTION = ("gloo", "nccl", "connection closed by peer", "connection reset by peer", "broken pipe")
"""Parts of what PyTorch says, in lower case, in a rank whose others are gone."""

_LOOPBACK = ("GLOO_SOCKET_IFNAME", "lo")
"""All ranks are on this machine, whose own name may lead nowhere."""


def result_path(folder: Path, rank: int) -> Path:
    """Return where a rank leaves its result."""
    return folder / f"rank-{rank}.result"


def run_in_ranks(request: Request[Mapping[str, Any]], devices: int, work: Path) -> Result:
    """Run a stage in as many ranks as it has devices; return rank 0's result, or what was lost.

    A rank that is lost ends the others within seconds. Files on the way lie in a folder in `work`.
    """
    os.environ.setdefault(*_LOOPBACK)
    with TemporaryDirectory(prefix="ranks-", dir=work) as place:
        folder = Path(place)
        (folder / "request").write_text(json.dumps(as_json(request)))
        oom_kills = count_oom_kills()
        codes = _launch(request, devices, folder)
        found = [read_result(result_path(folder, rank)) for rank in range(devices)]
        lost = _work_of(request)
        return judge(codes, found, lost, out_of_memory=count_oom_kills() > oom_kills)


def _work_of(request: Request[Mapping[str, Any]]) -> str:
    """Say what is lost with a rank."""
    steps = request.settings.get("steps")
    return f"its training of up to {steps:,} steps" if steps else "its timing"


def _launch(request: Request[Mapping[str, Any]], devices: int, folder: Path) -> Mapping[int, int]:
    """Start the ranks and wait for them; return the exit codes of those that ended the others."""
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=devices,
        logs_specs=DefaultLogsSpecs(str(folder / "logs")),  # which would stay behind elsewhere
        run_id=request.key[:12],
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        local_addr="localhost",
        max_restarts=0,
        monitor_interval=_MONITOR_S,
        **_grace(LaunchConfig),
    )
    words = ["-m", "bench.execution.rank", str(folder / "request"), str(folder), str(os.getpid())]
    try:
        elastic_launch(config, sys.executable)(*words)
    except ChildFailedError as error:
        return {rank: failure.exitcode for rank, failure in error.failures.items()}
    return {}


def _grace(config: type) -> dict[str, Any]:
    """Return how long ranks have to end, where this PyTorch lets one say so."""
    name = "shutdown_timeout"
    return {name: _GRACE_S} if name in getattr(config, "__dataclass_fields__", {}) else {}


def judge(
    codes: Mapping[int, int], found: Sequence[Result | None], lost_work: str, *, out_of_memory: bool = False
) -> Result:
    """Return the result of a stage by its ranks' exit codes and results; `lost_work` is lost with a rank.

    First comes a rank that says why it ended, then one that was killed; those that only lost their connection
    to it, or were then ended by the agent (SIGTERM), come last.
    """
    bad = {rank: result for rank, result in enumerate(found) if result is not None and result.state != "ok"}
    causes = {rank: result for rank, result in bad.items() if not _lost_connection(result)}
    silent = {rank: code for rank, code in codes.items() if code > 0 and found[rank] is None}
    killed = {rank: code for rank, code in codes.items() if code < 0}
    others = {rank: code for rank, code in killed.items() if code != -signal.SIGTERM}
    if causes:
        return _of_rank(causes, len(found))
    if others or (killed and not silent):
        rank, code = min((others or killed).items())
        how = f"rank {rank} of {len(found)} {how_it_ended(code)}; {lost_work} is lost"
        state: State = "killed" if -code in FROM_OUTSIDE else "failed"
        return Result("oom" if -code == signal.SIGKILL and out_of_memory else state, how)
    if bad and not silent:
        return _of_rank(bad, len(found))
    first = found[0]
    if codes or first is None:
        rank, code = min((silent or codes).items(), default=(0, 0))
        return Result("failed", f"rank {rank} of {len(found)} {how_it_ended(code)} and left no result")
    return first


def _of_rank(bad: Mapping[int, Result], ranks: int) -> Result:
    """Return the result of the rank that says most: why a technique does not apply, before what failed."""
    rank, result = min(bad.items(), key=lambda entry: (entry[1].state == "failed", entry[1].start_s))
    reason = result.reason if result.state != "failed" else f"rank {rank} of {ranks}: {result.reason}"
    return replace(result, reason=reason, artifact=None)


def _lost_connection(result: Result) -> bool:
    """Say whether a rank failed because another one was gone."""
    return result.state == "failed" and any(word in result.reason.lower() for word in _OF_A_CONNECTION)
