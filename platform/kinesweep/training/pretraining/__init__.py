"""Pretraining of video models: schedule, loop, checkpoints and export."""
