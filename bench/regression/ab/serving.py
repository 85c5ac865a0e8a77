"""One side's process: prepares a matrix, and launches its timed stages as the other process asks.

`python -m bench.regression.ab.serving SETTINGS` speaks lines of JSON. It says which timed stages there are,
then reads orders from standard input: the key of a stage to launch, an empty text for a fresh server, null
for the end. Each is answered. In the end it says what a baseline of the run would have.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from pydantic import BaseModel, ConfigDict

from bench.errors import BenchError

if TYPE_CHECKING:
    from bench.execution.preparation import Prepared

OLDER = (
    "its bench is older than `bench ab` and cannot launch stages one by one; compare later revisions, or a "
    "command by --command"
)


class Served(BaseModel):
    """What a side's process is told: what to run, and where its results go.

    With `kept`, a results folder, it is what the latest run there left, instead of a matrix.
    """

    model_config = ConfigDict(extra="ignore")

    matrix: str = ""
    results: Path
    kept: Path | None = None
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
    from bench.execution.session import execute
    from bench.regression.baseline import collect
    from bench.results.store import Store

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

    outcome = execute(_prepared(served, log), lambda run_id: None, log, OnDemand(wanted, answer))
    store = Store.open(served.results, create=False)
    try:
        return collect(store, outcome.run_id)
    finally:
        store.close()


def _prepared(served: Served, log: Callable[[str], None]) -> Prepared:
    from bench.execution.options import RunOptions
    from bench.execution.preparation import prepare
    from bench.regression.ab.kept import taken_over

    if served.kept is not None:
        options, plan = taken_over(served.kept, served.results)
        return replace(_unlimited(prepare(options, say=log)), plan=plan)
    options = RunOptions(
        served.matrix,
        served.results,
        served.filter,
        served.workloads,
        served.plugins,
        smoke=served.smoke,
        fresh=True,
    )
    return _unlimited(prepare(options, say=log))


def _unlimited(prepared: Prepared) -> Prepared:
    """Return it without a budget: who asks for launches limits them."""
    budget = prepared.matrix.budget.model_copy(update={"budget_s": None})
    return replace(prepared, matrix=replace(prepared.matrix, budget=budget))


if __name__ == "__main__":
    sys.exit(main())
