"""Measurements become numbers: intervals, summaries, rooflines, what may be compared. Pure functions."""
