"""Sources of `.pose` files: the reader, its validation, and corpora listed in TSV files."""
