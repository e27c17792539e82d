"""Tab-separated corpora: the strict reader, column names, and rows as clips."""
