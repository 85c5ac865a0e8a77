"""Turns cells into stages, each of them once, under its key."""
