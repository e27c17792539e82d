"""Tracking: what runs measure, in MLflow, with nothing lost and nothing twice.

`factory.resolve_tracking` says where a recipe's runs are recorded, `runlog.MlflowRunLog` is one
run's record, `server.start_server` runs a server, `services` keeps any process going. Training sees
only the `RunLog` protocol of `core.runlog`.
"""
