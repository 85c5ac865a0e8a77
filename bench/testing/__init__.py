"""The pytest plug-in: limits on a model as a mark, and cells under pytest-benchmark."""
