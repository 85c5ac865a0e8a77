"""The results store: one SQLite file, append-only; nothing outside this folder knows its schema."""

from bench.store.costs import CostHistory, LaunchCost, RunCosts
from bench.store.rows import CellRow, StageRow
from bench.store.store import Store
from bench.store.unreadable import UnreadableRecord

__all__ = ["CellRow", "CostHistory", "LaunchCost", "RunCosts", "StageRow", "Store", "UnreadableRecord"]
