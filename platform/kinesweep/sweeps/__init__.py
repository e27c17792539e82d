"""Sweeps: a question asked of a recipe, searched, settled over seeds, and ranked with its noise.

`space` is the question, `search` and `schedule` propose and prune, `finals` chooses what is trained
again on fresh seeds, `ranking` says what can be told apart, `journal` is the sweep's truth, and
`runner` drives it all on Ray Tune.
"""
