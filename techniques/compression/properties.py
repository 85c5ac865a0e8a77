"""Properties of weights that a step leaves, and a later one may undo: such a recipe is refused."""

from __future__ import annotations

ZEROS, TWO_OF_FOUR, SHARED, ROUNDED = "zeros", "2:4", "shared weights", "rounded weights"

TRAINS = dict.fromkeys((SHARED, ROUNDED), "would train each weight to a value of its own")
"""What training all weights undoes, and why."""
