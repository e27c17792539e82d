"""Commands that list what Kinesweep knows by name."""
