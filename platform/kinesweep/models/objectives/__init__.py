"""Training objectives that replace or extend the translation loss; attached to a translator."""
