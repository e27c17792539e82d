"""Pipelines: what each command does, as functions that return results."""
