"""Clusters: the local Ray head, job submission, and what Ray prints."""
