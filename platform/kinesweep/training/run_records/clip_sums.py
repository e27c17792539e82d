"""The file in which a pretraining run keeps the scores of its validation clips.

It lies in each checkpoint and in `best`. Sweeps read it, so that ranking needs no model.
"""

CLIP_SUMS_FILENAME = "clip_sums.json"
"""File with score → clip → [sum, number]; the score of validation is the ratio of the totals."""
