"""Corpora of images, one file for each clip."""
