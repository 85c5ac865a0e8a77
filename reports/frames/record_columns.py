"""What each column of the tables of records is: those that are not in a run's report."""

from __future__ import annotations

from collections.abc import Mapping

RECORDS: Mapping[str, str] = {
    "measurements": "a launch × metric × qualifier, with raw samples",
    "launches": "a launch: a process that ran a stage once",
    "summary": "a cell × metric × qualifier, with the interval over launches",
    "cells": "a cell, skipped ones included",
    "runs": "a run",
}
"""Tables of the store's records: what one row is."""

OF_RECORDS: Mapping[str, Mapping[str, str]] = {
    "measurements": {
        "timed": "whether the stage is timed in several launches",
        "round": "the number of the launch within its stage, from 0",
        "state": "how the launch ended",
        "environment_id": "the environment that it saw",
        "launch_id": "the launch",
        "metric": "the metric",
        "qualifier": "of what: a class, a number format, a moment; empty for most metrics",
        "unit": "the metric's unit",
        "value": "the value, in that unit; unknown where `reason` says why",
        "low": "lower end of its 95 % interval within the launch",
        "high": "upper end of it",
        "n": "samples that the value rests on",
        "method": "how it was measured",
        "samples": "the raw samples, in their order",
        "disturbed": "what disturbed the launch, empty for nothing",
    },
    "launches": {
        "launch_id": "the launch",
        "round": "the number of the launch within its stage, from 0",
        "state": "how it ended",
        "reason": "why, where it did not end well",
        "output_tail": "the last lines of its output",
        "reused": "whether it only took up an artifact of an earlier run",
        "wall_s": "seconds from the request to the result",
        "body_s": "seconds of the stage itself in it",
        "environment_id": "the environment that it saw",
        "started": "when it began, UTC",
        "cpu": "the processor's model",
        "accelerator": "the accelerators",
        "disturbed": "what disturbed it, empty for nothing",
    },
    "summary": {
        "metric": "the metric",
        "qualifier": "of what: a class, a number format, a moment; empty for most metrics",
        "unit": "the metric's unit",
        "value": "the value over launches, in that unit",
        "low": "lower end of its 95 % interval over launches",
        "high": "upper end of it",
        "launches": "launches that it rests on",
        "method": "how value and interval were made",
        "stage_key": "the stage that measured it",
    },
    "cells": {"skipped": "why it was skipped, empty for one that runs"},
    "runs": {
        "matrix": "the matrix",
        "state": "`running` or `finished`",
        "started": "when it began, UTC",
        "finished": "when it ended, UTC",
        "smoke": "whether it only checked that every stage runs",
        "filter": "its `--filter`",
        "command": "the command that repeats it",
    },
}
"""Kind of record → what its own columns are."""
