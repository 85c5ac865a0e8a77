"""What a run will cost: from launches in the store, from measured probes, at worst by a guess."""

from bench.estimate.lines import prediction_lines, prediction_text, sources_text
from bench.estimate.model import SOURCES, CostModel, StageCost
from bench.estimate.prediction import Estimator, KindTotal, Prediction, Progress
from bench.estimate.rates import spent_bytes
from bench.estimate.sources import make_estimator, make_model, progress_of

__all__ = [
    "SOURCES",
    "CostModel",
    "Estimator",
    "KindTotal",
    "Prediction",
    "Progress",
    "StageCost",
    "make_estimator",
    "make_model",
    "prediction_lines",
    "prediction_text",
    "progress_of",
    "sources_text",
    "spent_bytes",
]
