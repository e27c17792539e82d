"""Corpora whose tables contain the input itself: texts, and signs in Formal SignWriting."""
