"""The results store, append-only, of SQLite or PostgreSQL; nothing outside this folder knows its schema."""

from bench.results.store.address import address_of, without_password
from bench.results.store.cost_history import CostHistory, LaunchCost, RunCosts
from bench.results.store.records_of import Launch
from bench.results.store.rows import CellRow, StageRow
from bench.results.store.sqlite import STORE_NAME
from bench.results.store.store import Store
from bench.results.store.unreadable import UnreadableRecord

__all__ = [
    "STORE_NAME",
    "CellRow",
    "CostHistory",
    "Launch",
    "LaunchCost",
    "RunCosts",
    "StageRow",
    "Store",
    "UnreadableRecord",
    "address_of",
    "without_password",
]
