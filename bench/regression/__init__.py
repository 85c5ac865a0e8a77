"""A run held against a baseline: the file that is kept, and the judgement."""
