"""Records of a run: identity, task, metrics, throughput, result."""
