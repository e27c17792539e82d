"""Options of other systems, and where they are in Kinesweep."""
