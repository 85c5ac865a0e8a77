"""Writes pages of results from a run: `python -m docs.results PAGE RESULTS` fills `docs/pages/results`."""
