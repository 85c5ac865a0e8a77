"""Reads the results store and writes tables, plots and reports. Never runs anything."""
