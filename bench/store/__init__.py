"""The results store: one SQLite file, append-only; nothing outside this folder knows its schema."""

from bench.store.costs import CostHistory, LaunchCost, RunCosts
from bench.store.store import CellRow, StageRow, Store

__all__ = ["CellRow", "CostHistory", "LaunchCost", "RunCosts", "StageRow", "Store"]
