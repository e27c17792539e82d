"""Evaluation: decoding, metrics, predictions and baselines of trained models."""
