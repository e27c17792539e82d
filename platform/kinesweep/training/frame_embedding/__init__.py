"""Training of frame embedders: one run, and its optimization steps."""
