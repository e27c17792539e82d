"""Features of texts and SignWriting: tokens, as ids of a vocabulary."""
