"""One rank of a stage on several devices: `python -m bench.execution.rank REQUEST.json FOLDER PARENT`.

The ranks of a stage run the same code; rank 0 leaves the artifact and the result. Each leaves what became of
it in the folder. PyTorch's elastic agent starts them, in sessions of their own, so each asks the kernel to
end it with the worker that the agent is part of.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from bench.execution.kernel import die_with_parent, limit_memory
from bench.execution.ranks import result_path
from bench.files import replace_file
from bench.records import Request, as_json, read_as

FAILED_EXIT = 1
"""The exit code of a rank whose stage did not end well: the agent ends the others."""


def main(arguments: list[str]) -> int:
    """Join the other ranks, run the stage with them, leave the result."""
    request_path, folder, parent = Path(arguments[0]), Path(arguments[1]), int(arguments[2])
    die_with_parent(signal.SIGKILL, parent)
    rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    request = read_as(Request, json.loads(request_path.read_text()))
    request = replace(request, fork_safe=False)  # it was started by itself, which its record says
    limit_memory(resource.getrlimit(resource.RLIMIT_DATA)[0] // size)
    _keep_to_share(request.cpus, rank, size)
    from bench.execution.worker import run

    _join(request, rank)
    result = run(request, rank=rank, ranks=size)
    replace_file(result_path(folder, rank), json.dumps(as_json(result)).encode(), sync=False)
    sys.stdout.flush()
    sys.stderr.flush()
    # The others may have ended, or be about to: there is nothing left to agree on.
    os._exit(0 if result.state == "ok" else FAILED_EXIT)


def shares_of(cpus: tuple[int, ...], size: int) -> list[tuple[int, ...]]:
    """Return the cores of each rank, as many for each; all for all where there are fewer cores than ranks."""
    each = len(cpus) // size
    return [cpus[rank * each : (rank + 1) * each] or cpus for rank in range(size)]


def _keep_to_share(cpus: tuple[int, ...], rank: int, size: int) -> None:
    allowed = tuple(sorted(os.sched_getaffinity(0) & set(cpus))) or tuple(cpus)
    os.sched_setaffinity(0, shares_of(allowed, size)[rank])


def _join(request: Request[Mapping[str, Any]], rank: int) -> None:
    """Join the process group: tensors of GPUs go by NCCL, all others by gloo."""
    import torch
    import torch.distributed as dist

    backend = "gloo"
    if request.device == "cuda":
        torch.cuda.set_device(rank)
        backend = "cpu:gloo,cuda:nccl"
    # A rank that hangs is ended with its stage, whose time limit says how long it may take.
    dist.init_process_group(backend, timeout=timedelta(seconds=request.timeout_s))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
