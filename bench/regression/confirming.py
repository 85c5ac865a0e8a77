"""Fresh launches of what got slower, before it counts as a regression."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from bench.execution.options import options_of
from bench.execution.preparation import prepare
from bench.execution.session import execute
from bench.regression.finding import Comparison, Finding
from bench.regression.verdict import check
from bench.results.store import Store


def confirmed(
    comparison: Comparison,
    run_id: str,
    results: Path,
    store_url: str,
    baseline: str,
    say: Callable[[str], None],
    *,
    margin: float,
    threshold: float,
    any_machine: bool = False,
) -> Comparison:
    """Return the comparison after its slower timings were measured once more, by the code as it is now.

    The cells of the stages that got slower are run again, as a run of its own in the same results. Where its
    own 95 % interval does not lie above the threshold too, the difference is no regression: it can't be told.
    What cannot be launched any more stays one.
    """
    suspects = [finding for finding in comparison.findings if _suspect(finding)]
    if not suspects:
        return comparison
    with_ = _measured_again(suspects, run_id, results, store_url, say)
    store = Store.open(results, store_url, create=False)
    try:
        again = check(
            store,
            with_,
            baseline,
            results,
            margin=margin,
            threshold=threshold,
            any_machine=any_machine,
            confirming=run_id,
        )
    finally:
        store.close()
    found = {(finding.stage, finding.metric): finding for finding in again.findings}
    findings = [
        _after(finding, found.get((finding.stage, finding.metric)), with_, threshold)
        if finding in suspects
        else finding
        for finding in comparison.findings
    ]
    return replace(comparison, findings=findings)


def _suspect(finding: Finding) -> bool:
    return finding.verdict == "regression" and finding.ratio is not None


def _measured_again(
    suspects: list[Finding], run_id: str, results: Path, store_url: str, say: Callable[[str], None]
) -> str:
    store = Store.open(results, store_url, create=False)
    try:
        command = store.run(run_id)["command"]
    finally:
        store.close()
    stages = frozenset(finding.stage for finding in suspects)
    options = replace(options_of(command), results=results, store=store_url, shard=None)
    options = replace(options, only=stages, fresh=True)
    return execute(prepare(options, say=say), lambda run: None, say).run_id


def _after(finding: Finding, again: Finding | None, run_id: str, threshold: float) -> Finding:
    if again is None or again.verdict == "lost":
        return replace(finding, text=f"{finding.text}; run {run_id} could not measure it again")
    low = again.ratio.low if again.ratio is not None else None
    if low is not None and low > 1 + threshold:
        return replace(finding, text=f"{finding.text}, confirmed by run {run_id}: {again.text}")
    text = f"{finding.text}, not confirmed by run {run_id}: {again.text}"
    return replace(finding, verdict="can't tell", text=text, bound=again.bound)
