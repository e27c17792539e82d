"""Corpora of `sign-language-datasets`, which need TensorFlow and run in an environment of it."""
