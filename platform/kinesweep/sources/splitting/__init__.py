"""Splits of a corpus: cross-validation folds, and a check of what splits share."""
