"""Experiment tracking in MLflow, W&B and TensorBoard, without lost or duplicated records.

`resolution.resolve_tracker` decides where the runs of a recipe are recorded,
`queued_run_logger.QueuedRunLogger` records one run for all its trackers, of which `uploader`,
`wandb.sender` and `tensorboard.sender` pass records on. `server.start_mlflow_server` starts a
server, and `background_process` manages background processes in general. Training depends only on
the `RunLogger` protocol of `core.run_logger`.
"""
