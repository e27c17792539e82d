"""Pipelines of sweeps: plan, run, report, register the winner, load the results for analysis."""
