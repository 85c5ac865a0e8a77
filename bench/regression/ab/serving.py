"""One side's process: prepares a matrix, and launches its timed stages as the other process asks.

`python -m bench.regression.ab.serving SETTINGS` speaks lines of JSON. It says which timed stages there are,
then reads orders from standard input: the key of a stage to launch, an empty text for a fresh server, null
for the end. Each is answered. In the end it says what a baseline of the run would have.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, TextIO

from pydantic import BaseModel, ConfigDict

from bench.errors import BenchError

OLDER = (
    "its bench is older than `bench ab` and cannot launch stages one by one; compare later revisions, or a "
    "command by --command"
)


class Served(BaseModel):
    """What a side's process is told: what to run, and where its results go."""

    model_config = ConfigDict(extra="ignore")

    matrix: str
    results: Path
    filter: str = ""
    workloads: tuple[str, ...] = ()
    plugins: tuple[Path, ...] = ()
    smoke: bool = False


def main() -> int:
    channel = _take_stdout()
    try:
        _refuse_another_bench()
        served = Served.model_validate_json(sys.argv[1])
        content = _serve(served, channel)
    except BenchError as error:
        _say(channel, {"error": str(error)})
        return 2
    _say(channel, {"content": content})
    return 0


def _refuse_another_bench() -> None:
    """Raise BenchError where the code to measure has no such module, and another bench lent it this one."""
    package = sys.modules["bench"]
    if Path(str(package.__file__)).resolve().parent != Path(__file__).resolve().parents[2]:
        raise BenchError(OLDER)


def _take_stdout() -> TextIO:
    """Return what was standard output, and lead all that is printed to standard error."""
    channel = os.fdopen(os.dup(1), "w", buffering=1, encoding="utf-8")
    os.dup2(2, 1)
    return channel


def _say(channel: TextIO, message: dict[str, Any]) -> None:
    print(json.dumps(message), file=channel, flush=True)


def _serve(served: Served, channel: TextIO) -> dict[str, Any]:
    from bench.execution.on_demand import Launched, Offer, OnDemand
    from bench.execution.options import RunOptions
    from bench.execution.session import execute, prepare
    from bench.regression.baseline import collect
    from bench.results.store import Store

    options = RunOptions(
        served.matrix,
        served.results,
        served.filter,
        served.workloads,
        served.plugins,
        smoke=served.smoke,
        fresh=True,
    )

    def wanted(offers: list[Offer]) -> Iterator[str]:
        _say(channel, {"offers": [asdict(offer) for offer in offers]})
        for line in sys.stdin:
            key = json.loads(line)
            if key is None:
                return
            yield key

    def answer(launched: Launched) -> None:
        _say(channel, asdict(launched))

    def log(line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    prepared = prepare(options, say=log)
    outcome = execute(prepared, lambda run_id: None, log, OnDemand(wanted, answer))
    store = Store.open(served.results, create=False)
    try:
        return collect(store, outcome.run_id)
    finally:
        store.close()


if __name__ == "__main__":
    sys.exit(main())
