"""Two sides measured in turn, block by block, until the difference is clear or the budget is spent."""
