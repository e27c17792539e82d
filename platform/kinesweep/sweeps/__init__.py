"""Hyperparameter sweeps: search, finals on several seeds, and a ranking with significance tests.

`space` defines the search space, `search`, `propose` and `schedule` sample and prune trials,
`finals` selects the configurations that are retrained on new seeds, `ranking` tests which
differences are significant, `journal` is the persistent state of a sweep, and `runner` executes all
runs on Ray Tune.
"""
