"""Inspection of a finished store: integrity checks, statistics, tables."""
