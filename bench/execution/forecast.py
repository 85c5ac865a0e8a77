"""What a run will take: predicted as it starts, and kept to compare it with the outcome."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from bench.costs import Estimator, make_estimator, prediction_text, progress_of, spent_bytes
from bench.execution.job import Job
from bench.results.store import StageRow


def predict(job: Job, stages: Sequence[StageRow], say: Callable[[str], None], nodes: int = 1) -> Estimator:
    """Predict the rest of the run on so many nodes, and store that, to compare it with the outcome."""
    store, run_id, results = job.store, job.run_id, job.results
    estimator = make_estimator(
        stages,
        len(job.resources.cpus),
        job.max_launches,
        store,
        results,
        nodes=max(1, nodes),
        budget_s=job.budget.budget_s,
    )
    prediction = estimator.predict(stages, progress_of(stages, results, store, run_id, rebuild=job.rebuild))
    before = {
        "launches": len(store.launch_results(run_id)),
        "overheads": store.overheads(run_id),
        "bytes": spent_bytes(store, results),
    }
    made = {**prediction.as_document(), "before": before}
    earlier = store.run(run_id)["request"].get("prediction")
    if earlier:  # a run that goes on is told against its first prediction too
        made["first_wall_s"] = earlier.get("first_wall_s", earlier["wall_s"])
    store.keep_prediction(run_id, made)
    say(prediction_text(prediction))
    return estimator


def note_growth(job: Job) -> None:
    """Store how much the store and the compile cache have grown: later runs will grow them further."""
    store, run_id = job.store, job.run_id
    prediction = store.run(run_id)["request"]["prediction"]
    before, now = prediction["before"]["bytes"], spent_bytes(store, job.results)
    grown = {name: size - before[name] for name, size in now.items()}
    store.keep_prediction(run_id, {**prediction, "grown": grown})
