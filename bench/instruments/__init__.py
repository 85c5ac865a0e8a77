"""Probes: clock, FLOPs, memory, sizes, energy, environment. One per file; none depends on the suite."""
