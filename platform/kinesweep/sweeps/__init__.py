"""Hyperparameter sweeps: search, finals on several seeds, and a ranking with significance tests.

`space` defines search spaces, `search` decides which trials and final runs are started and stopped,
`workers` execute them on Ray Tune, `journal` is the persistent state of a sweep, `results` tests
which differences are significant, and `planning` estimates costs. `sweep` connects all of these.
"""
