"""Words of texts in all scripts, for metrics that count words."""
