"""Skeletons: keypoint names, the bones between them, and mirror symmetry."""
