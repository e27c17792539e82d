"""The machine on which this process runs: its memory."""
