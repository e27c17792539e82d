"""Results of a sweep: provisional rankings, the final ranking, tables, the conclusion."""
