"""Checkpoints: verified writing and reading, averaging, model folders, weight comparison."""
