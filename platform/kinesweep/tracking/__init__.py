"""Tracking: what runs measure, in MLflow, with nothing lost and nothing twice.

`runlog.RunLogFactory` opens the log of a run, `resolve.resolve_tracking` finds the server that is
meant, `server.start_server` runs one, `services` keeps any process going. Training knows none of
it: it sees `core.runlog.RunLog` alone.
"""

from kinesweep.tracking.resolve import resolve_tracking
from kinesweep.tracking.runlog import MlflowRunLog, NullRunLogFactory, RunLogFactory

__all__ = ["MlflowRunLog", "NullRunLogFactory", "RunLogFactory", "resolve_tracking"]
