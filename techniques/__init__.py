"""What is compared: optimizers, compression steps and backends. Knows nothing of `bench`."""
