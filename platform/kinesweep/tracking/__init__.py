"""Experiment tracking in MLflow, without lost or duplicated records.

`backends.resolve_tracking` decides where the runs of a recipe are recorded, `runlog.MlflowRunLog`
records one run, `server.start_server` starts a server, and `services` manages background processes
in general. Training depends only on the `RunLogger` protocol of `core.runlog`.
"""
