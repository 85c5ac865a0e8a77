"""Runs as files that other tools read, and files of other tools as runs: one module a tool."""
