"""Experiment tracking in MLflow, without lost or duplicated records.

`backends.resolve_tracker` decides where the runs of a recipe are recorded,
`mlflow_run_logger.MlflowRunLogger` records one run, `server.start_mlflow_server` starts a server,
and `background_process` manages background processes in general. Training depends only on the
`RunLogger` protocol of `core.run_logger`.
"""
