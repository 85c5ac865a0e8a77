"""The fixtures of a served store."""

from __future__ import annotations

from tests.support.served_store import address, get, results

__all__ = ["address", "get", "results"]
