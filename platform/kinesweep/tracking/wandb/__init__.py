"""Runs in Weights & Biases, online or offline, written from the offline queue of each run.

`sender.WandbSender` passes records on, `run_settings` names runs and projects, `sessions` starts
and stops W&B's own process, `transaction_log` reads what an offline run holds.
"""
