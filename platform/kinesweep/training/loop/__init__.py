"""The training loop: one run from a feature store to its best model."""
