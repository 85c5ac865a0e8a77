"""What a run will cost: from launches in the store, from measured probes, at worst by a guess."""

from bench.costs.evidence import guessed_s, make_estimator, make_model, progress_of
from bench.costs.lines import prediction_lines, prediction_text, sources_text, total_text
from bench.costs.model import SOURCES, CostModel, StageCost
from bench.costs.prediction import Estimator, KindTotal, Prediction, Progress
from bench.costs.rates import spent_bytes

__all__ = [
    "SOURCES",
    "CostModel",
    "Estimator",
    "KindTotal",
    "Prediction",
    "Progress",
    "StageCost",
    "guessed_s",
    "make_estimator",
    "make_model",
    "prediction_lines",
    "prediction_text",
    "progress_of",
    "sources_text",
    "spent_bytes",
    "total_text",
]
