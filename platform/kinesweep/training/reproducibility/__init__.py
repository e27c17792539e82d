"""Reproducibility: determinism, process reset, step traces, comparison of repeated runs."""
