"""Searches recipes of compression and backends, by what is measured on the backend that will serve."""
