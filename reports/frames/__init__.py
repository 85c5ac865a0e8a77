"""A run's results as pandas frames: SI units, units in column names, one row for each thing measured."""

from reports.frames.classes import classes_table, worst_classes
from reports.frames.compression import compression_table
from reports.frames.controls import control_of
from reports.frames.estimate import estimate_table
from reports.frames.fidelity import (
    attribution_table,
    fidelity_table,
    gaps_table,
    groups_table,
    robustness_table,
)
from reports.frames.generation import generation_table
from reports.frames.inference import inference_table
from reports.frames.memory import memory_table
from reports.frames.pareto import ranked_points
from reports.frames.problems import overhead_table, problems_table
from reports.frames.requests import requests_table
from reports.frames.runtimes import runtimes_table
from reports.frames.steps import steps_table
from reports.frames.tradeoff import tradeoff_table
from reports.frames.training import curves, training_table

__all__ = [
    "attribution_table",
    "classes_table",
    "compression_table",
    "control_of",
    "curves",
    "estimate_table",
    "fidelity_table",
    "gaps_table",
    "generation_table",
    "groups_table",
    "inference_table",
    "memory_table",
    "overhead_table",
    "problems_table",
    "ranked_points",
    "requests_table",
    "robustness_table",
    "runtimes_table",
    "steps_table",
    "tradeoff_table",
    "training_table",
    "worst_classes",
]
