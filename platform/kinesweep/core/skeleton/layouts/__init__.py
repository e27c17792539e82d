"""Named layouts that carry their own bones and mirror images, one table a source."""

from kinesweep.core.skeleton.layouts.motion_corpora import KIT_ML_21

NAMED_LAYOUTS = (KIT_ML_21,)
"""Layouts by which `source.skeleton` is extended beyond those of the body tree."""
