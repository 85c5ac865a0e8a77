"""From a matrix file to cells."""
