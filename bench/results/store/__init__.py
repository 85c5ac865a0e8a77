"""The results store: one SQLite file, append-only; nothing outside this folder knows its schema."""

from bench.results.store.cost_history import CostHistory, LaunchCost, RunCosts
from bench.results.store.rows import CellRow, StageRow
from bench.results.store.store import STORE_NAME, Store
from bench.results.store.unreadable import UnreadableRecord

__all__ = [
    "STORE_NAME",
    "CellRow",
    "CostHistory",
    "LaunchCost",
    "RunCosts",
    "StageRow",
    "Store",
    "UnreadableRecord",
]
