"""Reads a matrix file and spans its cells."""
