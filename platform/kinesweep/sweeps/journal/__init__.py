"""The journal of a sweep and the views that are computed from it alone."""
