"""Media files that are written while a corpus is prepared, and the journal of its rows."""
