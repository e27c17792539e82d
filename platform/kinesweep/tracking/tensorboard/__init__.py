"""Runs in TensorBoard: one event file a run, written from the offline queue of the run.

`sender.TensorBoardSender` writes the file, `events` turns records into events.
"""
