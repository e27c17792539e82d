"""Results of a sweep: provisional rankings, the outcome with the final ranking, and tables."""
