"""Runs the matrix and measures it."""
