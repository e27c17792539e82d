"""Feature extraction: corpus scan, plan, chunks and manifest; in this process or on Ray Data."""
