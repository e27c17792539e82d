"""Feature extraction: scan, plan, chunks, manifest; in this process or on Ray Data."""
