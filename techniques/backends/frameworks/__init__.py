"""A model of PyTorch in another framework: the same layers and weights, trained or served there."""
