"""Probes: clock, FLOPs, memory, sizes, energy, environment. One a file, and none knows the suite."""
