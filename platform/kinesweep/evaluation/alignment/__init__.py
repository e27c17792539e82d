"""Evaluation of the stage that aligns clips with texts: losses and retrieval."""
