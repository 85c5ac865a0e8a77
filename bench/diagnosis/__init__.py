"""What is wrong, from evidence: with an optimizer, or with a compressed model that is not faster."""
