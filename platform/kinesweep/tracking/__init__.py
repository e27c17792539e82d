"""Tracking: a run's log in MLflow, and the server behind it.

`factory.resolve_tracking` says where a recipe's runs are recorded; training sees only the `RunLog`
protocol of `core.runlog`.
"""
