"""Writes the reference pages from the code: `python -m docs.reference` fills `docs/pages`."""
