"""What each column of each table is: the reference, Excel, JSON and Parquet files say it from here."""

from __future__ import annotations

from collections.abc import Mapping

from bench.metrics import METRICS
from reports.frames.record_columns import OF_RECORDS
from reports.frames.units import unit_of

TABLES: Mapping[str, str] = {
    "optimizers": "a workload × optimizer and training setting, over its seeds; best steps first",
    "training": "a training: a point of `[train]`, failed and censored ones included",
    "curves": "an evaluation during a training",
    "trials": "a trial of settings, where the matrix tunes",
    "steps": "a timed training step, which all seeds share",
    "sensitivity": "an optimizer × setting of which the run has several values",
    "sensitivity_points": "a value of such a setting",
    "compression": "a training × step of a recipe, formats left out: they change no weights",
    "inference": "a cell: a training × compression × backend, skipped and failed ones included",
    "generation": "lengths, concurrent texts, a cache and a draft, of each model that generated text",
    "requests": "a rate of arrival of requests, of each model that continued texts",
    "tradeoff": "a workload × backend × compression, averaged over optimizers and seeds",
    "classes": "a class of the answers × compression on a backend",
    "fidelity": "a compressed cell, compared by test item with the uncompressed model on the same backend",
    "groups": "a compressed cell × column of the test data × group in it",
    "gaps": "a compressed cell × column of the test data",
    "robustness": "a compressed cell × corruption of the test items",
    "attributions": "a compressed cell × test items: all of them, and those whose answer flipped",
    "runtimes": "a backend × format × precision of an unchanged model",
    "memory": "a timed stage, with its peak memory",
    "problems": "a stage that failed, a record that cannot be read, or a cell left out",
    "overhead": "a part of the time outside of stages",
    "estimate": "a kind of stage, with its predicted and its actual cost",
    "limits": "a limit of the matrix on a stage",
}
"""Tables of a run's report: what one row is."""

_AXES = {
    "workload": "the workload",
    "optimizer": "the optimizer that trained the model; `none` for one that is served as it is",
    "schedule": "the schedule of the optimizer's rate",
    "clip": "how gradients were clipped",
    "average": "the average of weights that was evaluated and saved",
    "train_backend": "the backend that trained it",
    "train_precision": "the precision of the training",
    "train_batch_size": "the batch size of the training",
    "devices": "devices that trained it together",
    "parallel": "how they did, `none` for one device",
    "tuning": "how the optimizer's settings were chosen",
    "seed": "the seed of the training",
    "compression": "the recipe",
    "backend": "the backend that serves it",
    "precision": "the precision in which it is served",
    "batch_size": "the batch size at which it is served",
}

_COMMON = {
    "run_id": "the run's id",
    "host": "the machine that ran it",
    "cell": "the cell's name",
    "machine": "processor, cores and accelerators, where the run has several machines",
    "state": "`ok`, `skipped`, `INVALID`, `failed`, ...",
    "reason": "why, where the state is not `ok` or the value is unknown",
    "notes": "what makes the row less sure",
    "kind": "the kind of stage",
    "stage": "the stage that it is about",
    "label": "the stage's name within its kind",
    "seeds": "seeds that the row rests on",
    "trainings": "trainings that the row rests on",
    "launches": "launches that the row rests on",
    "cells": "cells that share the stage",
    "compressions": "recipes that run as this same structure",
    "quality_metric": "the metric that `quality` is",
    "target": "the quality to reach",
    "preliminary": "whether the interval rests on fewer than 6 launches",
    "disturbed": "whether, or by what, it was disturbed",
    "flops_incomplete": "operators that the FLOP count lacks; with any, the count is a lower bound",
    "flops_incomplete_in": "counts that lack them",
    "roofline_binds": "what limits the speed: arithmetic, memory or a cache; an estimate",
    "roofline_share": "share of that limit",
    "energy_estimate_j": "energy of a call, estimated from the matrix's `[estimate]`",
    "energy_estimate_to_target_j": "energy up to the target, estimated from the matrix's `[estimate]`",
    "energy_estimate_method": "how it was estimated",
    "money_per_million": "price of a million inferences, from the matrix's `[prices]`",
    "money_to_target": "price of training to the target, from the matrix's `[prices]`",
    "money_method": "whose prices, and of what",
    "step_latency_launches": "launches that the step time rests on",
    "step_latency_disturbed": "launches that were disturbed and excluded",
    "step_latency_preliminary": "whether that is fewer than 6, or its interval is wide as time ran out",
}

_TRAINING = {
    "target_reached": "whether the target was reached and held",
    "censored": "whether it was not, so that steps and time to target are unknown but larger than spent",
    "time_gap": "clocked time to target over steps × step time, less 1",
    "time_gap_flagged": "whether that is over 5 %",
    "step_within_variation": "variation of the step time within launches",
    "validation_gap_points": "quality in validation less that on the test set",
    "without_training": "the best answer that needs no training",
    "baseline_quality": "its quality",
    "tuned_settings": "settings that the best trial had",
    "tuning_trials": "trials that were made",
    "tuning_steps": "optimizer steps of all trials",
    "tuning_s": "seconds of all trials, without evaluation",
    "tuning_evaluation_s": "seconds of the trials' evaluations",
    "tuning_energy_j": "energy of all trials",
    "tuning_energy_estimate_j": "the same, estimated",
    "steps_to_target_with_tuning": "steps to target and steps of the trials",
    "time_to_target_with_tuning_s": "time to target and time of the trials",
    "scaling_efficiency": "step time on one device over that on all × their number: 1 is perfect",
    "scaling_efficiency_preliminary": "whether it rests on fewer than 6 launches of either",
    "reached": "seeds that reached the target",
    "states": "what became of seeds without a result",
    "variant": "how the optimizer goes over its tensors",
    "budget_steps": "steps that a training may take",
    "step": "optimizer steps so far",
    "seconds": "seconds so far, without evaluation",
    "rate": "learning rate over the optimizer's own",
}

_SERVING = {
    "quality_loss_points": "quality lost to the uncompressed model on eager PyTorch",
    "quality_reference": "what the loss is against",
    "latency_launches": "launches that the latency rests on",
    "latency_disturbed": "launches that were disturbed and excluded",
    "latency_preliminary": "whether the interval rests on fewer than 6 launches, or is wide as time ran out",
    "latency_converged": "whether the interval is as narrow as the budget asks",
    "latency_between_variation": "standard deviation between launches, over their mean",
    "page_faults_per_call": "how often the kernel gives memory to a call",
    "speedup": "how many times as fast as eager PyTorch without compression, same precision and batch size",
    "ranked": "whether the cell is measured and valid",
    "pareto": "whether no other cell has both better quality and lower latency",
    "pareto_size": "the same for quality and compressed size",
    "format": "the format, empty for unquantized arithmetic",
    "format_kernels": "kernels that ran in the requested format or precision",
    "fastest": "whether no other row of the workload and batch size is faster",
    "concurrency": "texts that are generated side by side",
}

_COMPRESSION = {
    "control": "the recipe that trains as long without the idea; the row is compared with it",
    "loss_points": "quality lost to the uncompressed model on the same backend",
    "vs_control_points": "quality won over the control",
    "same_timing": "whether it runs as the uncompressed structure and was timed with it",
    "times_smaller": "size of the uncompressed artifact over this one's",
    "times_smaller_compressed": "the same of sizes compressed by zstd",
    "nonzero_share": "share of the weights that are not zero",
    "answers_flipped": "share of answers that differ from the uncompressed model's",
    "why": "why it is not faster, or why it is",
    "break_even_verdict": "why the break-even is unknown, or `never` and why; empty where it is known",
    "recovered_points": "quality won between right after the step and after its recovery",
    "recipe": "the recipe up to this step",
    "position": "the step's place in the recipe, from 1",
    "quality_trained": "quality after training, before the recipe",
    "quality_after": "quality after the step, recovery included",
    "quality_control": "quality after the control, of the same training",
    "class": "the class",
    "recall": "share of the class that is classified correctly",
    "recall_uncompressed": "the same of the uncompressed model",
    "change_points": "recall less that of the uncompressed model",
}

_FIDELITY = {
    "paired_metric": "the metric that is compared by test item",
    "items": "test items that are compared",
    "quality_uncompressed": "quality of the uncompressed model on the same backend",
    "paired_loss_points": "quality lost on the same test items",
    "p_value": "chance of a loss as large where there is none",
    "q_value": "the same with false discoveries controlled over all groups, or corruptions, of the cell",
    "paired_method": "the test and the interval",
    "items_lost": "items that became wrong",
    "items_won": "items that became right",
    **{f"{name}_uncompressed": f"`{name}` of the uncompressed model" for name in ("ece", "brier", "nll")},
    "worst_column": "the column of the test data in which a group loses most",
    "worst_group": "that group",
    "worst_group_points": "what it loses",
    "worst_group_q_value": "its `q_value`",
    "groups_tested": "groups that were tested",
    "groups_flagged": "groups that lose more than chance explains",
    "column": "the column of the test data",
    "group": "the group",
    "groups": "groups in the column",
    "score": "share of right answers in the group, or less the squared error where answers are numbers",
    "score_uncompressed": "the same of the uncompressed model",
    "loss_points": "the score that the group lost, in hundredths",
    "flagged": "whether that is more than chance explains",
    "gap_points": "score of the best group less that of the worst, in hundredths (fairlearn)",
    "gap_points_uncompressed": "the same of the uncompressed model",
    "corruption": "how the items were corrupted",
    "quality_clean": "quality on the same items, uncorrupted",
    "relative_quality": "quality over that",
    "relative_quality_uncompressed": "the same of the uncompressed model",
    "change_points": "relative quality less that of the uncompressed model, in hundredths",
    "change_points_low": "lower end of its 95 % interval, by a paired bootstrap of the test items",
    "change_points_high": "upper end of it",
    "of_items": "`all` items, or those whose answer flipped",
    "agreement": "rank correlation of attributions with those of the uncompressed model, mean over items",
}

_SENSITIVITY = {
    "setting": "the setting: `lr`, or `batch size`",
    "value": "the setting's value",
    "values": "values that the run has",
    "reaching": "values at which at least half of the seeds reach the target",
    "best": "the value with the fewest steps",
    "low": "the lowest value of the range around the best that reaches the target",
    "high": "the highest value of that range",
    "below": "the nearest lower value that missed the target; unknown where none was tried that did",
    "above": "the nearest higher value that missed it",
    "decades": "width of the range, in powers of ten: the least that it can be",
    "most_decades": "its width up to the values that missed the target: the most that it can be",
    "best_at_end": "whether the best value is the lowest or the highest that was tried",
    "elsewhere": "values beyond a gap that reach the target too",
    "critical_batch": "batch size at which a step saves half of what it could (McCandlish et al. 2018)",
    "critical_batch_low": "lower end of its interval",
    "critical_batch_high": "upper end of its interval",
    "min_steps": "steps that the largest batches approach",
    "min_samples": "samples that the smallest batches approach",
}

_OF_TIMES = {
    "low_s": "lower end of the 95 % interval of `{}` over launches",
    "high_s": "upper end of it",
    "launches": "launches that `{}` rests on",
    "disturbed": "launches that were disturbed and excluded",
    "preliminary": "whether the interval rests on fewer than 6 launches, or is wide as time ran out",
}

_OF_TABLE: Mapping[str, Mapping[str, str]] = {
    "optimizers": {
        "steps_to_target": "steps to target, median over seeds; unknown where half of them did not get there",
        "steps_trained": "steps of the longest training",
        "time_to_target_s": "time to target, median over seeds: steps × step time where the step was timed",
        "quality": "final quality, mean over seeds",
    },
    "trials": {
        "trial": "the trial's number",
        "extension": "how many steps it lies beyond the edge of the search space",
        "tried": "the settings that it tried",
        "rate": "the learning rate that it tried",
        "chosen": "whether the training has its settings",
        "ended": "how it ended",
        "quality": "the best quality of any of its evaluations",
    },
    "sensitivity": _SENSITIVITY,
    "sensitivity_points": {**_SENSITIVITY, "quality": "final quality, median over seeds"},
    "curves": {"quality": "quality in validation", "loss": "training loss since the last evaluation"},
    "compression": {"step": "the step", "quality_pruned": "quality after pruning, before recovery"},
    "tradeoff": {
        "quality": "quality, mean over trainings",
        "quality_low": "the lowest of any training",
        "quality_high": "the highest of any training",
        "latency_s": "latency, mean over trainings",
        "speedup": "how many times as fast as the uncompressed model on the same backend",
    },
    **dict.fromkeys(("fidelity", "groups", "gaps", "robustness", "attributions"), _FIDELITY),
    "runtimes": {"speedup": "how many times as fast as eager PyTorch in fp32, at the same batch size"},
    "generation": {
        "cache": "the number format of the key-value cache; `own` for the model's own numbers",
        "draft": "the workload whose model proposes tokens; empty for none",
        "prompt_tokens": "tokens of each prompt",
        "new_tokens": "tokens that each text got",
        "tokens_per_s_low": "lower end of the 95 % interval of `tokens_per_s` over launches",
        "tokens_per_s_high": "upper end of it",
        **{
            f"{name}_{end}": what.format(f"{name}_s")
            for name in ("ttft", "tpot", "inter_token", "inter_token_p99")
            for end, what in _OF_TIMES.items()
        },
    },
    "requests": {
        "offered_per_s": "rate of the Poisson process",
        "ttft_bound_s": "bound on the first token, from when a request was due",
        "tpot_bound_s": "bound on the time per output token",
        "goodput_low": "lower end of the 95 % interval of `goodput_per_s` over launches",
        "goodput_high": "upper end of it",
        **{
            f"request_{name}_{end}": what.format(f"request_{name}_s")
            for name in ("ttft", "ttft_p99", "tpot", "tpot_p99")
            for end, what in _OF_TIMES.items()
        },
    },
    "steps": {
        **{
            f"{part}_{unit}": f"{what} of a step in its {part} part"
            for part in ("data", "forward", "backward", "optimizer")
            for unit, what in (("s", "time"), ("share", "share of the time"))
        },
        "losses_repeat": "whether launches from the same seed had the same first losses, bit for bit",
    },
    "memory": {"cell": "the first of the cells that share the stage"},
    "problems": {
        "what": "the stage or cell",
        "last_line": "the last line of its output",
        "launches": "launches that were tried",
    },
    "overhead": {
        "part": "what the time went to",
        "seconds": "wall time",
        "share": "share of all time outside of stages",
    },
    "estimate": {
        "part": "a kind of stage, the rest, or the whole run",
        "stages": "stages of that kind",
        "predicted_s": "seconds that were predicted as the run began",
        "taken_s": "seconds that it took",
        "error": "predicted over taken seconds, less 1",
        "median_stage_error": "median over stages of the error's size",
        "predicted_bytes": "disk space that was predicted",
        "taken_bytes": "disk space that it took",
        "bytes_error": "predicted over taken bytes, less 1",
    },
    "limits": {
        "verdict": "`broken`, `kept`, `can't tell` or `not comparable`",
        "metric": "the metric",
        "limit": "the limit, as the matrix has it",
        "value": "the value, in the metric's unit",
        "text": "all of it in one line",
    },
    **OF_RECORDS,
}

_KNOWN = {**_AXES, **_COMMON, **_TRAINING, **_SERVING, **_COMPRESSION}

_TEXTS = {
    ("compression", "step"),
    ("measurements", "n"),
    ("summary", "launches"),
    ("runtimes", "format_kernels"),
}
"""Columns whose names look as if they had a unit."""

_ENDS = {"low": "lower", "high": "upper"}


def about(table: str, column: str) -> str:
    """Say what a column of a table is; empty where nothing is known of it."""
    own = _OF_TABLE.get(table, {})
    if column in own:
        return own[column]
    if column in _KNOWN:
        return _KNOWN[column]
    if column == "stage_key":
        return "key of the stage; `bench show KEY` has the record"
    if column.endswith("_key"):
        return f"key of the `{column.removesuffix('_key')}` stage; `bench show KEY` has the record"
    for name in (column, column.removeprefix("metric_"), *_shorter(column)):
        if name in METRICS:
            return METRICS[name].about
    if column.startswith("quality_"):
        return f"quality at the moment {column.removeprefix('quality_')!r} of the step"
    return _end_of_interval(column)


def unit_in(table: str, column: str) -> str:
    """Return the unit of a column of numbers in a table, empty where it has none."""
    if (table, column) in _TEXTS or column in ("value", "low", "high"):
        return ""
    return unit_of(column)


def _shorter(column: str) -> tuple[str, ...]:
    return column.removeprefix("latency_"), column.removesuffix("_samples_per_s")


def _end_of_interval(column: str) -> str:
    for end, word in _ENDS.items():
        for found, whole in ((f"_{end}_s", "_s"), (f"_{end}_share", "_share"), (f"_{end}", "")):
            if column.endswith(found):
                return f"{word} end of the 95 % interval of `{column.removesuffix(found)}{whole}`"
    return ""
