"""The quality of a corpus of poses: statistics of clips, detection rates of splits, findings."""
