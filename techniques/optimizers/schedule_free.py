"""Schedule-Free optimizers, which evaluate an average of the weights that they train."""

from __future__ import annotations

from schedulefree import AdamWScheduleFree, SGDScheduleFree

__all__ = ["AdamWScheduleFree", "SGDScheduleFree"]
