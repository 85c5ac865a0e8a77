"""Carries out a plan: processes, rounds of launches, and the ledger of what has ended."""
