"""From cells to stages, each there once under its key."""
